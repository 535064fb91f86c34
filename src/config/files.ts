/** Looks at files that the configuration names, and words what is wrong with them. */

import { accessSync, constants, readFileSync, type Stats, statSync } from 'node:fs'

export type FileResult<T> = T | { readonly error: string }

/** @param maxBytes a larger file is refused: it is not what it should be. */
export function readTextFile(
  file: string,
  options: { maxBytes: number; encoding: 'utf8' | 'latin1' },
): FileResult<{ readonly text: string }> {
  const found = findFile(file)
  if ('error' in found) return found
  if (found.stats.size > options.maxBytes)
    return { error: `${file} is too large: at most ${options.maxBytes} bytes` }
  try {
    const bytes = readFileSync(file)
    return options.encoding === 'latin1'
      ? { text: bytes.toString('latin1') }
      : { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch (error) {
    return { error: error instanceof TypeError ? `${file} is not UTF-8 text` : fileErrorText(file, error) }
  }
}

/** A file that exists, is no directory, and can be read by this user. Not opened. */
export function findFile(file: string): FileResult<{ readonly stats: Stats }> {
  try {
    const stats = statSync(file)
    if (stats.isDirectory()) return { error: `${file} is a directory, not a file` }
    accessSync(file, constants.R_OK)
    return { stats }
  } catch (error) {
    return { error: fileErrorText(file, error) }
  }
}

function fileErrorText(file: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
  return `${file}: ${FILE_ERRORS[code] ?? `cannot be read (${code})`}`
}

const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file: a part of the path is not a directory',
  EACCES: 'the user that runs Sealgate may not read it',
  ELOOP: 'a symbolic link leads back to itself',
  ENAMETOOLONG: 'the path is too long',
}

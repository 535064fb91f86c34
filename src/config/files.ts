/** Looks at files that the configuration names, and words what is wrong with them. */

import { accessSync, constants, readFileSync, type Stats, statSync } from 'node:fs'

export type FileResult<T> = T | FileTrouble

export interface FileTrouble {
  /** With the name of the file. */
  readonly error: string
  /** Without, to follow it. */
  readonly reason: string
}

/**
 * @param maxBytes a larger file is refused: it is not what it should be. So is what is neither a file nor a pipe: a device
 *   says that it is empty, and may have no end.
 */
export function readTextFile(
  file: string,
  options: { maxBytes: number; encoding: 'utf8' | 'latin1' },
): FileResult<{ readonly text: string }> {
  const found = findFile(file)
  if ('error' in found) return found
  if (!found.stats.isFile() && !found.stats.isFIFO()) return trouble(file, 'is neither a file nor a pipe')
  if (found.stats.size > options.maxBytes)
    return trouble(file, `is too large: at most ${options.maxBytes} bytes`)
  try {
    const bytes = readFileSync(file)
    return options.encoding === 'latin1'
      ? { text: bytes.toString('latin1') }
      : { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch (error) {
    return error instanceof TypeError ? trouble(file, 'is not UTF-8 text') : failure(file, error)
  }
}

/** A file that exists, is no directory, and can be read by this user. Not opened. */
export function findFile(file: string): FileResult<{ readonly stats: Stats }> {
  try {
    const stats = statSync(file)
    if (stats.isDirectory()) return trouble(file, 'is a directory, not a file')
    accessSync(file, constants.R_OK)
    return { stats }
  } catch (error) {
    return failure(file, error)
  }
}

function failure(file: string, error: unknown): FileTrouble {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
  const reason = FILE_ERRORS[code] ?? `cannot be read (${code})`
  return { error: `${file}: ${reason}`, reason }
}

/** @param reason a sentence whose subject is the file. */
function trouble(file: string, reason: string): FileTrouble {
  return { error: `${file} ${reason}`, reason }
}

const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file: a part of the path is not a directory',
  EACCES: 'the user that runs Sealgate may not read it',
  ELOOP: 'a symbolic link leads back to itself',
  ENAMETOOLONG: 'the path is too long',
}

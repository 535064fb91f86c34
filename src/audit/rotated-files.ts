/**
 * Names of the files that are full: `audit.jsonl` is written, `audit.jsonl.000001` was the first one, the highest number
 * is the latest. A number is used once, and no file is ever replaced.
 */

import { access, readdir, rename } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

export interface RotatedFile {
  readonly path: string
  readonly number: number
}

/** In the order in which they were written. @throws {Error} of node:fs when the directory cannot be read. */
export async function rotatedFiles(path: string): Promise<readonly RotatedFile[]> {
  const names = await readdir(dirname(path))
  return names
    .flatMap((name) => {
      const { base, number } = splitName(name)
      return base === basename(path) && number !== undefined
        ? [{ path: join(dirname(path), name), number }]
        : []
    })
    .toSorted((a, b) => a.number - b.number)
}

/** Gives the file the next number. @returns its new path. @throws {Error} of node:fs. */
export async function moveAside(path: string): Promise<string> {
  const number = ((await rotatedFiles(path)).at(-1)?.number ?? 0) + 1
  const to = `${path}.${String(number).padStart(DIGITS, '0')}`
  // rename() replaces what is there; the directory was read just now, and it has one writer.
  if (await exists(to)) throw new Error(`${to} is there already`)
  await rename(path, to)
  return to
}

/** `audit.jsonl.000012` → `audit.jsonl` and 12; the file that is written has no number. */
export function splitName(name: string): { readonly base: string; readonly number: number | undefined } {
  const [, base, digits] = /^(.+)\.(\d{6,15})$/.exec(name) ?? []
  return base === undefined ? { base: name, number: undefined } : { base, number: Number(digits) }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch {
    return false
  }
}

const DIGITS = 6

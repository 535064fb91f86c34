/** Changes single values of a configuration and leaves every other byte as somebody wrote it. */

import { rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isScalar, LineCounter, parseDocument } from 'yaml'

import type { Path } from '../config/document.ts'
import { readTextFile } from '../config/files.ts'
import { loadConfig } from '../config/load.ts'
import { ConfigError, SealgateError } from '../errors.ts'
import { replaceFile } from './files.ts'

export interface Edit {
  readonly path: Path
  readonly value: string
}

export interface EditedConfig {
  /** What it was made from. */
  readonly before: string
  readonly text: string
  /** For people: what stands where, before and after. */
  readonly changes: readonly { readonly line: number; readonly before: string; readonly after: string }[]
}

/**
 * Not by writing the document anew: that keeps the comments, but sets the whole file in the library's way.
 *
 * @throws {SealgateError} `ERR_KEYS_ROTATION` when a value is not written where it belongs, e.g. behind an alias.
 */
export function edited(file: string, text: string, edits: readonly Edit[]): EditedConfig {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, version: '1.2' })
  const places = edits.map(({ path, value }) => {
    const node: unknown = document.getIn([...path], true)
    if (!isScalar(node) || !node.range) {
      throw new SealgateError(
        'ERR_KEYS_ROTATION',
        `${file}: ${path.map(String).join('.')} is written elsewhere (an alias): change it there by hand to ${value}`,
      )
    }
    const [start, end] = node.range
    return { start, end, value: JSON.stringify(value), line: lines.linePos(start).line }
  })
  const result = places
    .toSorted((a, b) => b.start - a.start)
    .reduce((done, { start, end, value }) => done.slice(0, start) + value + done.slice(end), text)
  const after = result.split('\n')
  const old = text.split('\n')
  const changed = [...new Set(places.map(({ line }) => line))].toSorted((a, b) => a - b)
  return {
    before: text,
    text: result,
    changes: changed.map((line) => ({ line, before: old[line - 1] ?? '', after: after[line - 1] ?? '' })),
  }
}

/**
 * Puts it in place when it is a whole and valid configuration, keeping a copy of the old one.
 *
 * @returns the copy. @throws {ConfigError} what would be wrong with it; {SealgateError} `ERR_KEYS_ROTATION` when somebody else has
 *   changed the file meanwhile. Nothing has changed then.
 */
export async function putInPlace(file: string, { before, text }: EditedConfig): Promise<string | undefined> {
  const candidate = join(dirname(file), `.${basename(file)}.candidate-${process.pid}`)
  try {
    writeFileSync(candidate, text, { mode: 0o600, flag: 'wx' })
    await loadConfig(candidate)
  } catch (error) {
    if (error instanceof ConfigError)
      throw new ConfigError(error.problems.map((problem) => ({ ...problem, file })))
    const reason = error instanceof Error ? error.message : String(error)
    throw new SealgateError('ERR_KEYS_FILE', `${file} cannot be changed: ${reason}`, { cause: error })
  } finally {
    rmSync(candidate, { force: true })
  }
  // It was read when the command began, and HSMs take their time.
  const now = readTextFile(file, { maxBytes: Number.POSITIVE_INFINITY, encoding: 'utf8' })
  if ('error' in now || now.text !== before)
    throw new SealgateError(
      'ERR_KEYS_ROTATION',
      `somebody has changed ${file} meanwhile: it was left as it is now; run this again`,
    )
  return replaceFile(file, text)
}

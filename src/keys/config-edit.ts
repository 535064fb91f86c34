/** Changes single values of a configuration and leaves every other byte as somebody wrote it. */

import { rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import {
  type Alias,
  type Document,
  isNode,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml'

import { type Path, pathText } from '../config/document.ts'
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
 * @throws {SealgateError} `ERR_KEYS_ROTATION` when a value is not written where it belongs, and nowhere else: behind an alias,
 *   or under an anchor that an alias refers to.
 */
export function edited(file: string, text: string, edits: readonly Edit[]): EditedConfig {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, version: '1.2' })
  const shared = aliases(document)
  const places = edits.map(({ path, value }) => {
    const node: unknown = document.getIn([...path], true)
    if (!isScalar(node) || !node.range) {
      throw new SealgateError(
        'ERR_KEYS_ROTATION',
        `${file}: ${path.map(String).join('.')} is written elsewhere (an alias): change it there by hand to ${value}`,
      )
    }
    const [start, end] = node.range
    const { line } = lines.linePos(start)
    const alias = aliasOf(document, path, shared)
    if (alias !== undefined) {
      const other = lines.linePos(alias.range?.[0] ?? 0).line
      throw new SealgateError(
        'ERR_KEYS_ROTATION',
        `${file}, line ${line}: ${pathText(path)} is under the anchor &${alias.source}, which line ${other} refers to (*${alias.source}): write it out there, or that one would change too; then run this again`,
      )
    }
    return { start, end, value: JSON.stringify(value), line }
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

/** By what they refer to; of several one. A name may be given to one anchor after the other. */
function aliases(document: Document): ReadonlyMap<Node, Alias> {
  const found = new Map<Node, Alias>()
  visit(document, {
    Alias: (_, alias) => {
      const target = alias.resolve(document)
      if (target !== undefined) found.set(target, alias)
    },
  })
  return found
}

/** What shows the value at this place somewhere else as well, alone or with all that is around it. */
function aliasOf(document: Document, path: Path, shared: ReadonlyMap<Node, Alias>): Alias | undefined {
  const around = Array.from({ length: path.length + 1 }, (_, depth): unknown =>
    document.getIn(path.slice(0, depth), true),
  )
  return around.flatMap((node) => (isNode(node) ? (shared.get(node) ?? []) : []))[0]
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

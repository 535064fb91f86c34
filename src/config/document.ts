/** A YAML file whose values still know where they stand. */

import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml'
import { ConfigError, type ConfigProblem } from '../errors.ts'

/** Keys and indices from the root, e.g. `['listeners', 0, 'address']`. */
export type Path = readonly PropertyKey[]

export interface Place {
  /** Both 1-based. */
  readonly line: number
  readonly column: number
}

export interface ConfigDocument {
  readonly file: string
  /** Plain objects, arrays and scalars. */
  readonly value: unknown
  /** Where the value stands, or its key; for what is missing, the nearest parent that exists. */
  place(path: Path, part: 'key' | 'value'): Place | undefined
}

/** @throws {ConfigError} `ERR_CONFIG_SYNTAX` with every syntax error of the text. */
export function parseConfigDocument(file: string, text: string): ConfigDocument {
  const lines = new LineCounter()
  // No pretty errors, and no warnings of the parser's own on standard error: they quote the line, and the line may hold
  // what somebody should not have written there.
  const quiet = { prettyErrors: false, logLevel: 'error' } as const
  const document = parseDocument(text, { lineCounter: lines, version: '1.2', ...quiet })
  const faults = [...document.errors, ...document.warnings]
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => syntaxProblem(file, lines, fault)))

  const unanchored = aliasWithoutAnchor(document)
  if (unanchored !== undefined) {
    const message = 'an alias (*name) has no anchor (&name) before it; is it mistyped?'
    const place = placeOf(lines, startOf(unanchored) ?? 0)
    throw new ConfigError([{ code: 'ERR_CONFIG_SYNTAX', file, ...place, path: '', message }])
  }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch {
    throw new ConfigError([
      {
        code: 'ERR_CONFIG_SYNTAX',
        file,
        path: '',
        message: `the aliases expand to more than ${MAX_ALIASES} copies; write the values out`,
      },
    ])
  }
  return {
    file,
    value,
    place(path, part) {
      const offset = offsetOf(path, part, document.contents, (node) =>
        isAlias(node) ? node.resolve(document) : node,
      )
      return offset === undefined ? undefined : placeOf(lines, offset)
    },
  }
}

/** The first one; toJS() throws for it as well, without its place. */
function aliasWithoutAnchor(document: Document): Alias | undefined {
  const anchors = new Set<string>()
  let found: Alias | undefined
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node)) {
        if (anchors.has(node.source)) return undefined
        found = node
        return visit.BREAK
      }
      if (node.anchor !== undefined) anchors.add(node.anchor)
      return undefined
    },
  })
  return found
}

/** `listeners[0].address`: the form in which messages name a place. */
export function pathText(path: Path): string {
  return path
    .map((step, index) =>
      typeof step === 'number' ? `[${step}]` : index === 0 ? String(step) : `.${String(step)}`,
    )
    .join('')
}

// Past this an alias is not a convenience but the "billion laughs".
const MAX_ALIASES = 100

/** Messages of these codes quote the text; ours do not. */
const WORDS: Partial<Record<YAMLError['code'], string>> = {
  BAD_ALIAS: 'an alias (*name) is not well-formed; a value that starts with * needs quotes',
  BAD_DIRECTIVE: 'a directive (%...) is not known',
  BAD_DQ_ESCAPE: 'unknown escape in a double-quoted text; use single quotes or write \\\\',
  BAD_SCALAR_START: 'a value that starts with @ or ` needs quotes',
  DUPLICATE_KEY: 'this key stands twice in the same map',
  IMPOSSIBLE: 'this is not YAML',
  MULTIPLE_DOCS: 'one file holds one configuration: remove the --- line',
  TAB_AS_INDENT: 'YAML is indented with spaces, not tabs',
  TAG_RESOLVE_FAILED: 'a tag (!name) is not known; a value that starts with ! needs quotes',
  UNEXPECTED_TOKEN: 'this does not fit here; check the indentation and the quotes around it',
}

function syntaxProblem(file: string, lines: LineCounter, fault: YAMLError): ConfigProblem {
  return {
    code: 'ERR_CONFIG_SYNTAX',
    file,
    ...placeOf(lines, fault.pos[0]),
    path: '',
    message: WORDS[fault.code] ?? fault.message,
  }
}

function placeOf(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(line, 1), column: Math.max(col, 1) }
}

function offsetOf(
  path: Path,
  part: 'key' | 'value',
  root: unknown,
  resolve: (node: unknown) => unknown,
): number | undefined {
  let node = root
  let offset = startOf(root)
  for (const [index, step] of path.entries()) {
    const parent = resolve(node)
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      if (pair === undefined) break
      const wantsKey = (part === 'key' && index === path.length - 1) || isNothing(pair.value)
      offset = startOf(wantsKey ? pair.key : pair.value) ?? offset
      node = pair.value
    } else if (isSeq(parent) && typeof step === 'number' && step in parent.items) {
      node = parent.items[step]
      offset = startOf(node) ?? offset
    } else break
  }
  return offset
}

/** `key:` with nothing behind it has a value without a place. */
function isNothing(value: unknown): boolean {
  return value === null || (isScalar(value) && value.source === '')
}

function startOf(node: unknown): number | undefined {
  return isNodeWithRange(node) ? node.range[0] : undefined
}

function isNodeWithRange(node: unknown): node is Node & { range: [number, number, number] } {
  return typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)
}

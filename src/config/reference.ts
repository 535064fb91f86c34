/**
 * Writes config/schema.json and config/README.md from the schema and the error codes.
 *
 * After a build: `node dist/config/reference.js`. A test compares the files with what this makes.
 */

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { CODES, type ErrorCode } from '../errors.ts'
import { ERROR_REFERENCE } from './error-reference.ts'
import { configSchema } from './schema.ts'

/** JSON Schema (draft 2020-12) of the file as written, for editors: `# yaml-language-server: $schema=schema.json`. */
export function jsonSchemaText(): string {
  const text = JSON.stringify({ title: 'Sealgate configuration', ...jsonSchema() }, null, 2)
  // Lists of words on one line, as the formatter has them.
  const compact = text.replace(
    /\[\n\s+("[^[\]{}]*")\n\s+\]/g,
    (_, words) => `[${words.replace(/\n\s+/g, ' ')}]`,
  )
  return `${compact}\n`
}

/** The reference for people. */
export function referenceText(): string {
  const root = nodeOf(jsonSchema())
  // Where several maps hold the same one, it is told once.
  const sections = [...new Map(sectionsOf('', root).map((section) => [section.title, section])).values()]
  return [
    HEAD,
    table(['file', 'shows'], EXAMPLES),
    '## Keys\n',
    ...sections.map(sectionText),
    '## Errors\n',
    'Every error has a stable code; logs and metrics (`result`, `reason`) carry it. Exit status is what `run` and `check` end with, HTTP status what a client gets.\n',
    table(
      ['code', 'means', 'what to do', 'exit', 'HTTP'],
      Object.keys(CODES).filter(isErrorCode).map(errorRow),
    ),
  ].join('\n')
}

/** The part of JSON Schema that ours uses. */
interface Node {
  readonly title?: string
  readonly description?: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, Node>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Node | boolean
  readonly items?: Node
  readonly oneOf?: readonly Node[]
  readonly anyOf?: readonly Node[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly type?: string
  readonly 'x-type'?: string
  readonly 'x-bounds'?: string
}

interface Section {
  readonly title: string
  readonly description: string
  readonly node: Node
}

function jsonSchema() {
  return z.toJSONSchema(configSchema, { io: 'input' })
}

/** The JSON text is the interface; its types are looser than what is read here. */
function nodeOf(schema: unknown): Node {
  return JSON.parse(JSON.stringify(schema))
}

/** One section per map of keys, in the order of the schema, the outer before the inner. */
function sectionsOf(title: string, node: Node): Section[] {
  const own = node.properties === undefined ? [] : [{ title, description: node.description ?? '', node }]
  const inner = Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const path = title === '' ? key : `${title}.${key}`
    return mapsIn(path, child).flatMap(([innerTitle, map]) => sectionsOf(map.title ?? innerTitle, map))
  })
  return [...own, ...inner]
}

/** Maps of keys that a value holds, directly or as entries. */
function mapsIn(path: string, node: Node): [string, Node][] {
  if (node.properties !== undefined) return [[path, node]]
  const variants = [...(node.oneOf ?? []), ...(node.anyOf ?? [])]
  if (variants.length > 0) return variants.flatMap((variant) => mapsIn(path, variant))
  if (node.items !== undefined) return mapsIn(`${path}[]`, node.items)
  return typeof node.additionalProperties === 'object'
    ? mapsIn(`${path}.NAME`, node.additionalProperties)
    : []
}

function sectionText({ title, description, node }: Section): string {
  const rows = Object.entries(node.properties ?? {}).map(([key, child]) => [
    `\`${key}\``,
    typeText(child),
    defaultText(child, node.required?.includes(key) ?? false),
    child.description ?? '',
  ])
  return [
    `### ${title === '' ? 'Top level' : `\`${title}\``}\n`,
    ...(description === '' ? [] : [`${description}\n`]),
    table(['key', 'type', 'default', 'what it is for'], rows),
  ].join('\n')
}

function typeText(node: Node): string {
  const bounds = node['x-bounds'] === undefined ? '' : `, ${node['x-bounds']}`
  return `${node['x-type'] ?? plainType(node)}${bounds}`
}

function plainType(node: Node): string {
  if (node.const !== undefined) return `\`${node.const}\``
  if (node.enum !== undefined) return node.enum.map((value) => `\`${value}\``).join(' or ')
  if (node.properties !== undefined) return 'map'
  if (node.items !== undefined) {
    const items =
      plainType(node.items) === 'map' || node.items.oneOf !== undefined ? 'maps' : typeText(node.items)
    return `list of ${items}${items === 'name' ? 's' : ''}`
  }
  if (node.additionalProperties !== undefined) return 'map by name'
  if (node.anyOf !== undefined) return node.anyOf.map(plainType).join(' or ')
  return node.type === 'string' ? 'text' : node.type === 'boolean' ? '`true` or `false`' : (node.type ?? '')
}

function defaultText(node: Node, required: boolean): string {
  if (required) return '**required**'
  // An empty map or list is what leaving it out means anyway.
  return node.default === undefined || typeof node.default === 'object' ? '' : `\`${node.default}\``
}

function errorRow(code: ErrorCode): string[] {
  const { means, cure } = ERROR_REFERENCE[code]
  const facts: { readonly fault: string; readonly exit?: number; readonly status?: number } = CODES[code]
  return [`\`${code}\``, means, cure, String(facts.exit ?? ''), String(facts.status ?? '')]
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(CODES, code)
}

/** Columns are aligned: the file is read as text, too. */
function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const rows = [head, ...body].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')))
  const widths = head.map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)))
  const lines = [...rows.slice(0, 1), widths.map((width) => '-'.repeat(width)), ...rows.slice(1)].map(
    (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`,
  )
  return `${lines.join('\n')}\n`
}

const HEAD = `<!-- Generated by src/config/reference.ts from the schema; edit that, not this. -->

# Configuration

One YAML file: \`sealgate run --config FILE\`; \`sealgate check --config FILE\` tries it without serving anybody.
\`schema.json\` is the same reference for editors.

- Durations and sizes carry a unit: \`250ms\`, \`2s\`, \`10m\`, \`12h\`, \`7d\`; \`512B\`, \`16KiB\`, \`4MiB\`, \`1GiB\`. One number, one unit.
- Relative paths are relative to the file they stand in, not to the working directory.
- An unknown key is an error. All errors are shown at once, with line and column.
- A PIN is never written here; only the place where it is: \`pin: { file: ... }\`. It is read by the process that talks to the HSM and by no other.

The files beside this one run as they are with the development token that \`npm start\` makes:
`

const EXAMPLES: readonly (readonly string[])[] = [
  [
    '`quickstart.yaml`',
    'HTTPS in front of one application, an ECDSA and an RSA certificate for one name, two HSM members',
  ],
  ['`two-hsms.yaml`', 'routes to several upstreams, and what to set when HSMs are far away'],
  [
    '`client-certificates.yaml`',
    'who a client is: certificates asked for, required, and told to the upstream',
  ],
  ['`tcp.yaml`', 'TLS for a protocol that is not HTTP'],
  ['`audit.yaml`', 'a record of every use of the keys, signed by a key in the HSM'],
  ['`shared-tickets.yaml`', 'ticket keys that a fleet shares, wrapped by a key in the HSM'],
]

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = new URL('../../config/', import.meta.url)
  writeFileSync(new URL('schema.json', folder), jsonSchemaText())
  writeFileSync(new URL('README.md', folder), referenceText())
}

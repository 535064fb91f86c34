/**
 * The tree is the architecture: who may import whom. Every relative import of src/ is compared with one table.
 *
 * A folder always may import itself and the leaves. `types` may be imported with `import type` only; a part's
 * options.ts is such a type for config/, which must produce what the parts want.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

interface Rule {
  /** Folders, or files without `.ts`. */
  readonly may: readonly string[]
  readonly types?: readonly string[]
}

const LEAVES = [
  'errors',
  'log',
  'log-output',
  'no-inspector',
  'signing',
  'version',
  'metrics/metrics',
  'metrics/series',
]

const TABLE: Readonly<Record<string, Rule>> = {
  app: {
    may: [
      'certificates',
      ...['config', 'tls', 'audit', 'proxy', 'upstream', 'admin', 'metrics', 'native', 'drill'],
      'ticket-sharing',
      ...['change', 'listening', 'part-states', 'reload', 'expiry', 'stapling'],
    ],
    types: ['hsm'],
  },
  change: {
    may: ['config', 'part-states', 'tls'],
    types: ['certificates', 'hsm', 'native', 'proxy', 'stapling'],
  },
  listening: { may: ['proxy'], types: ['config', 'tls'] },
  'part-states': { may: ['config'], types: ['proxy', 'tls', 'upstream'] },
  reload: { may: ['config'] },
  expiry: { may: [], types: ['tls/options'] },
  check: { may: ['certificates', 'config', 'drill', 'native', 'stapling', 'ticket-check', 'tls'] },
  certificates: { may: ['config', 'hsm'] },
  cli: {
    may: [
      ...['app', 'check', 'audit', 'bench', 'config', 'doctor', 'drill', 'ticket-sharing', 'tickets', 'keys'],
      // The end of a process that Node cannot end.
      'native',
    ],
    types: ['hsm/options'],
  },
  doctor: {
    may: ['config/tls-listeners', 'drill/module', 'hsm', 'keys/token-key', 'native', 'tls', 'token'],
    types: ['config/config'],
  },
  drill: { may: ['config/nearest', 'hsm/ckr'] },
  config: {
    may: [],
    types: [
      ...['audit/options', 'hsm/options', 'proxy/options', 'stapling/options', 'tickets/options'],
      'tls/options',
      'upstream/options',
    ],
  },
  tls: { may: ['native'] },
  stapling: { may: ['hsm/back-off'], types: ['native', 'tls/options'] },
  // A wrapping key is the HSM's; what it is asked is its own business.
  tickets: { may: ['hsm/back-off'], types: ['hsm/options'] },
  'ticket-check': { may: ['ticket-sharing', 'tickets'], types: ['config', 'hsm'] },
  'ticket-sharing': { may: ['config', 'hsm', 'tickets'] },
  hsm: { may: [] },
  token: { may: ['hsm'] },
  keys: { may: ['token', 'hsm', 'audit', 'config'], types: ['tls/options'] },
  bench: { may: ['hsm', 'token', 'config', 'native'] },
  // It records what the pool tells it, and checks signatures as the pool does.
  audit: { may: ['hsm/verify-signature'], types: ['hsm/key-use', 'hsm/options'] },
  proxy: { may: ['upstream', 'native'] },
  upstream: { may: [] },
  admin: { may: ['metrics'] },
  metrics: { may: [] },
  native: { may: [] },
}

const SRC = fileURLToPath(new URL('../../src', import.meta.url))

test('every import goes the way the table says', () => {
  const forbidden = sourceFiles()
    .flatMap(importsOf)
    .filter((found) => !isAllowed(found))

  expect(forbidden.map(({ from, to, typeOnly }) => `${from} ${typeOnly ? '-types->' : '->'} ${to}`)).toEqual(
    [],
  )
})

test('leaves import nothing of ours but other leaves', () => {
  const found = sourceFiles()
    .filter((file) => LEAVES.includes(withoutExtension(file)))
    .flatMap(importsOf)
    .filter(({ to }) => !LEAVES.includes(to))

  expect(found).toEqual([])
})

test('every folder has its row in the table', () => {
  const parts = new Set(sourceFiles().map(partOf))

  expect([...parts].filter((part) => !(part in TABLE) && !LEAVES.includes(part))).toEqual([])
})

test('each addon has one file that loads it, and only one of the HSM host loads pkcs11js', () => {
  const loaders = (pattern: RegExp) => sourceFiles().filter((file) => pattern.test(read(file)))

  expect(loaders(/\bnode-gyp-build\b/)).toEqual(['native/addon.ts'])
  expect(loaders(/\bsign_load\.node\b/)).toEqual(['bench/native/addon.ts'])
  const pkcs11 = loaders(/(?:from|import\(|require\()\s*'pkcs11js'/)
  expect(pkcs11.length).toBeLessThanOrEqual(1)
  expect(pkcs11.every((file) => file.startsWith('hsm/host/'))).toBe(true)
})

test('the environment is read in config/ and in the child process only', () => {
  const readers = sourceFiles().filter((file) => /\bprocess\.env\b/.test(read(file)))

  // cli/program: SEALGATE_DEBUG, which has to work when the configuration does not.
  expect(readers.filter((file) => !/^(?:config\/|hsm\/|cli\/program)/.test(file))).toEqual([])
})

interface Import {
  readonly from: string
  /** Relative to src/, without extension. */
  readonly to: string
  readonly typeOnly: boolean
}

function isAllowed({ from, to, typeOnly }: Import): boolean {
  const part = partOf(from)
  if (LEAVES.includes(to) || partOf(to) === part) return true
  const rule = TABLE[part]
  const covers = (names: readonly string[] = []) =>
    names.some((name) => to === name || to.startsWith(`${name}/`))
  return covers(rule?.may) || (typeOnly && covers(rule?.types))
}

function importsOf(file: string): Import[] {
  // Static, dynamic and re-exporting imports; `new URL('./x.ts', import.meta.url)` starts a process or a
  // thread, and that is no import.
  const pattern = /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^'"]*?from\s+'(\.[^']+)'|import\(\s*'(\.[^']+)'/g
  return [...read(file).matchAll(pattern)].map(([, type, target, dynamicTarget]) => ({
    from: file,
    to: withoutExtension(posix.join(dirname(file), target ?? dynamicTarget ?? '')),
    typeOnly: type !== undefined,
  }))
}

/** `tls/options.ts` → `tls`; a file at the root is a part of its own. */
function partOf(file: string): string {
  return withoutExtension(file).split('/', 1)[0] ?? file
}

function sourceFiles(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
}

function withoutExtension(file: string): string {
  return file.replace(/\.ts$/, '')
}

function read(file: string): string {
  return readFileSync(join(SRC, file), 'utf8')
}

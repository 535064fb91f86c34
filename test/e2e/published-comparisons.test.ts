/**
 * The bench still runs, every row and every peer; and the tables that are published are those of the figures that are
 * kept. What a quick run measures here says nothing, and nobody looks at it.
 */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { runTool } from '../support/tools.ts'

interface Row {
  readonly id: string
  readonly metrics: Readonly<Record<string, string>>
}

interface Results {
  readonly rows: Readonly<
    Record<string, { readonly peers: Record<string, Record<string, number[]>>; readonly errors: number }>
  >
}

/** The bench is JavaScript with types in comments, which its own tsconfig checks. */
const { between } = await load<{ between(text: string, name: string): string }>('markdown.mjs')
const { toMarkdown, toSummary } =
  await load<Record<'toMarkdown' | 'toSummary', (rows: readonly Row[], results: Results) => string>>(
    'report.mjs',
  )
const { readResults } = await load<{ readResults(): Promise<Results> }>('results.mjs')
const { allRows } = await load<{ allRows(): Promise<readonly Row[]> }>('rows.mjs')

const QUICK_MS = 400_000

test('README.md shows what the kept figures give, and bench/README.md too', async () => {
  const [rows, results] = [await allRows(), await readResults()]

  expect(Object.keys(results.rows).length).toBeGreaterThan(0)
  expect(shown('README.md', 'bench')).toBe(toSummary(rows, results))
  expect(shown('bench/README.md', 'results')).toBe(toMarkdown(rows, results))
})

test('kept figures belong to rows that are there', async () => {
  const ids = (await allRows()).map(({ id }) => id)

  expect(Object.keys((await readResults()).rows).filter((id) => !ids.includes(id))).toEqual([])
})

test(
  'a quick run measures every row with every peer without a failed operation, and leaves nothing behind',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sealgate-quick-bench-'))
    const results = join(folder, 'results.json')
    const temporary = join(folder, 'temporary')
    mkdirSync(temporary)
    const before = readFileSync(join(checkout, 'README.md'), 'utf8')
    try {
      const { status, stdout, stderr } = await runTool(
        nodeUnderTest,
        [join(checkout, 'bench/run.mjs'), '--quick', '--results', results],
        { timeoutMs: QUICK_MS, env: { ...process.env, TMPDIR: temporary } },
      )

      expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
      const measured: Results = JSON.parse(readFileSync(results, 'utf8'))
      const rows = await allRows()
      expect(Object.keys(measured.rows).sort()).toEqual(rows.map(({ id }) => id).sort())
      for (const { id, metrics } of rows) {
        const row = measured.rows[id]
        expect({ id, errors: row?.errors }).toEqual({ id, errors: 0 })
        for (const [peer, figures] of Object.entries(row?.peers ?? {})) {
          const missing = Object.keys(metrics).filter((metric) => !figures[metric]?.every(Number.isFinite))
          expect({ id, peer, missing }).toEqual({ id, peer, missing: [] })
        }
      }
      const peers = new Set(Object.values(measured.rows).flatMap((row) => Object.keys(row.peers)))
      for (const name of [
        'Sealgate',
        'nginx, engine:pkcs11',
        'nginx, key in a file',
        'stunnel, engine:pkcs11',
        'stunnel, key in a file',
        'node:https + undici stream, key in a file',
        'hitch, key in a file',
      ])
        expect(peers).toContain(name)
      expect(stdout).toContain('| Sealgate: measure')
      expect(readFileSync(join(checkout, 'README.md'), 'utf8')).toBe(before)
      expect(readdirSync(temporary)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
  QUICK_MS + 10_000,
)

test.each([
  { args: ['--quick', '--write'], says: /--quick measures nothing that is worth keeping/ },
  { args: ['no-such-row'], says: /no row no-such-row; there are: handshake-cpu, / },
  { args: ['--without', 'ngnix'], says: /no peer ngnix; there are: Sealgate \| nginx, engine:pkcs11 \| / },
  { args: ['--seconds', '0'], says: /--seconds 0: write a whole number/ },
])('bench $args says what is wrong before anything is started', async ({ args, says }) => {
  const { status, stderr } = await runTool(nodeUnderTest, [join(checkout, 'bench/run.mjs'), ...args])

  expect(status).toBe(1)
  expect(stderr).toMatch(says)
})

function shown(file: string, name: string): string {
  return between(readFileSync(join(checkout, file), 'utf8'), name)
}

async function load<T>(file: string): Promise<T> {
  return import(new URL(`../../bench/${file}`, import.meta.url).href)
}

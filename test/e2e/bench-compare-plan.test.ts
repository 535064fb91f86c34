/** `sealgate bench compare` and `bench plan`: what they print, and the statuses that pipelines act on. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { sealgateCommand } from '../support/sealgate.ts'
import { report, series, step } from '../unit/bench/support.ts'

const folder = mkdtempSync(join(tmpdir(), 'bench-compare-'))
const before = written('before.json', report())
const slower = written('slower.json', report({ series: [series({ steps: [step(1, 700), step(2, 1400)] })] }))
const other = written('other.json', report({ series: [series({ members: ['hsm-z'] })] }))
const foreign = written('foreign.json', { handshakes: 5 })
const broken = join(folder, 'broken.json')
writeFileSync(broken, '{"format":')

afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('a slower HSM is named, and fails a pipeline that asks for it', async () => {
  const shown = await compare(before, slower)
  const failed = await compare(before, slower, '--fail-below', '0.9')
  const same = await compare(before, before, '--fail-below', '0.9')

  expect(shown).toMatchObject({ status: 0, stderr: '' })
  expect(shown.stdout).toMatch(/ecdsa_secp256r1_sha256 +hsm-a +pool +1 +900 +700 +0\.78 .* slower$/m)
  expect(failed.status).toBe(65)
  expect(failed.stderr).toMatch(/^slower than 90 %: ecdsa_secp256r1_sha256, hsm-a, pool: 0\.7/)
  expect(same).toMatchObject({ status: 0, stderr: '' })
})

test('reports without anything in common cannot pass', async () => {
  const outcome = await compare(before, other, '--fail-below', '0.9')

  expect(outcome.status).toBe(65)
  expect(outcome.stderr).toMatch(/nothing was compared/)
})

test('the comparison is there for scripts too', async () => {
  const { stdout } = await compare(before, slower, '--json', '--fail-below', '0.9')

  expect(JSON.parse(stdout)).toMatchObject({
    knees: [{ verdict: 'slower' }],
    slower: [{ scheme: 'ecdsa_secp256r1_sha256' }],
  })
})

test('a plan has the HSMs, their use with one lost, and the cost', async () => {
  const args = [before, '--handshakes', '5000/s', '--resumed', '60%', '--price', '1.45/h']

  const { status, stdout } = await sealgateCommand(['bench', 'plan', ...args])

  expect(status).toBe(0)
  expect(stdout).toMatch(/^wanted: .*2,000 signatures\/s/m)
  expect(stdout).toMatch(/^HSMs: +3: 2 carry the load at 70 % at most, one more/m)
  expect(stdout).toMatch(/^use: +33\.3 % of each, 50 % with one lost$/m)
  expect(stdout).toMatch(/^cost: +3,175\.50 a month: 3 .* 1\.45 .* 730 h$/m)
})

test('requests can be what is paid for', async () => {
  const args = [before, '--handshakes', '100', '--price-per-request', '0.15/10000', '--average-load', '0.5']

  const { stdout } = await sealgateCommand(['bench', 'plan', ...args])

  // 50 a second on average, 730 hours.
  expect(stdout).toMatch(/^cost: +1,971\.00 a month for signatures at 0\.15 per 10,000/m)
})

test.each([
  [['compare', before], 64, "missing required argument 'after'"],
  [['compare', before, 'MISSING'], 66, 'there is no such file'],
  [['compare', before, foreign], 65, 'is JSON, but no report'],
  [['compare', before, broken], 65, 'is not JSON'],
  [['compare', before, slower, '--fail-below', 'much'], 64, '--fail-below much: give a number above 0'],
  [['plan', before], 64, '--handshakes is missing'],
  [['plan', before, '--handshakes', '0'], 64, 'give a number above 0, such as 500/s'],
  [['plan', before, '--handshakes', '5', '--resumed', '1'], 64, 'give a share from 0 to less than 1'],
  [['plan', before, '--handshakes', '5', '--scheme', 'ed25519'], 64, 'the report has ecdsa_secp256r1_sha256'],
  [['plan', before, '--handshakes', '5', '--price-per-request', '1/2/3'], 64, '0.15/10000'],
  [['plan', folder, '--handshakes', '5'], 66, 'it is a folder'],
  [['plam', before], 64, 'Did you mean plan?'],
] as const)('bench %j ends with %i and says: %s', async (args, status, message) => {
  const outcome = await sealgateCommand(['bench', ...args])

  expect(outcome.stderr).toContain(message)
  expect(outcome.status).toBe(status)
  expect(outcome.stderr).not.toMatch(/^ {4}at |unexpected error/m)
})

function compare(...args: readonly string[]): ReturnType<typeof sealgateCommand> {
  return sealgateCommand(['bench', 'compare', ...args])
}

function written(name: string, value: unknown): string {
  const file = join(folder, name)
  writeFileSync(file, JSON.stringify(value))
  return file
}

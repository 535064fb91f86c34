/**
 * The check of the bench against a C program that shares no line with it: both run, and both give figures that can be. Whether
 * they agree within 10 % is for a quiet machine to say: node bench/agree.mjs.
 */

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { type Outcome, runTool } from '../support/tools.ts'

const number = (text: string | undefined): number => Number(text?.replaceAll(',', ''))

test('bench sign and raw-sign.c measure the same keys, and their ratios decide', async () => {
  const { status, stdout } = await agree('p256', 'rsa2048', '1ms', '--sessions', '2', '--quick')

  const rows = rowsOf(stdout)
  expect(rows.map(({ key, delay }) => `${key} ${delay}`)).toEqual([
    'EC:prime256v1 ',
    'RSA:2048 ',
    'EC:prime256v1 + 1 ms',
  ])
  for (const { c, sealgate, ratio, verdict } of rows) {
    expect(c).toBeGreaterThan(5)
    expect(sealgate / c).toBeCloseTo(ratio, 1)
    expect(verdict).toBe(Math.abs(ratio - 1) <= 0.1 ? 'agree' : 'DISAGREE')
  }
  expect(status).toBe(rows.every(({ verdict }) => verdict === 'agree') ? 0 : 1)
  expect(stdout).toMatch(
    /^1 pairs of 0\.2 s; taken by others: hypervisor [\d.]+ %, other processes [\d.]+ %/m,
  )
}, 70_000)

test('with an HSM that takes 3 ms neither counts more than it can sign, nor much less', async () => {
  const { stdout } = await agree('3ms', '--sessions', '4', '--quick')

  const [row] = rowsOf(stdout)
  for (const rate of [row?.c, row?.sealgate]) {
    // Four sessions that wait 3 ms each: 1,333 a second at most. Less where others keep the machine busy.
    expect(rate).toBeLessThan(1400)
    expect(rate).toBeGreaterThan(250)
  }
}, 70_000)

test.each([
  { args: ['rsa1024'], says: 'no row rsa1024; there are: p256, rsa2048, rsa4096, 1ms, 3ms' },
  { args: ['--sessions', '0'], says: '--sessions and --pairs take whole numbers from 1' },
  { args: ['--seconds', 'long'], says: '--seconds and --warm-up take numbers above 0' },
])('agree $args says what is wrong', async ({ args, says }) => {
  const { status, stdout, stderr } = await agree(...args)

  expect({ status, stdout, stderr }).toEqual({ status: 1, stdout: '', stderr: `${says}\n` })
})

test.each([
  [[3, 1, 2], 1, 3],
  [[6, 5, 4, 3, 2, 1], 1, 6],
  [[9, 8, 7, 6, 5, 4, 3, 2, 1], 2, 8],
  [Array.from({ length: 20 }, (_, index) => index + 1), 6, 15],
])('the median behind %j is between %i and %i', async (values, low, high) => {
  const { medianInterval }: { medianInterval(values: readonly number[]): unknown } = await import(
    new URL('../../bench/measure/statistics.mjs', import.meta.url).href
  )

  expect(medianInterval(values)).toEqual({ low, high })
})

function agree(...args: readonly string[]): Promise<Outcome> {
  return runTool(nodeUnderTest, [join(checkout, 'bench/agree.mjs'), ...args], { timeoutMs: 60_000 })
}

interface Row {
  readonly key: string
  readonly delay: string
  readonly c: number
  readonly sealgate: number
  readonly ratio: number
  readonly verdict: string
}

function rowsOf(stdout: string): readonly Row[] {
  return [...stdout.matchAll(/^\| (?:EC|RSA):.*$/gm)].map(([line]) => {
    const [, key = '', delay = '', , c, sealgate, ratio, , , verdict = ''] = line
      .split('|')
      .map((cell) => cell.trim())
    return { key, delay, c: number(c), sealgate: number(sealgate), ratio: number(ratio), verdict }
  })
}

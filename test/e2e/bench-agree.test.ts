/**
 * The check of the bench against a C program that shares no line with it: both run, and both give figures that can be. Whether
 * they agree within 10 % is for a quiet machine to say: node bench/agree.mjs.
 */

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { runTool } from '../support/tools.ts'

const number = (text: string | undefined): number => Number(text?.replaceAll(',', ''))

test.each([
  ['EC:prime256v1', 50],
  ['RSA:2048', 5],
])(
  '%s: bench sign and raw-sign.c measure the same key, and their ratio decides',
  async (type, least) => {
    const how = ['--rounds', '1', '--seconds', '0.5', '--threads', '1,2', '--type', type]

    const { status, stdout, stderr } = await runTool(
      nodeUnderTest,
      [join(checkout, 'bench/agree.mjs'), ...how],
      {
        timeoutMs: 60_000,
      },
    )

    expect(stderr).toBe('')
    const lines = [
      ...stdout.matchAll(/raw-sign\.c ([\d.,]+)\/s, bench sign ([\d.,]+)\/s, ratio ([\d.]+): (\w+);/g),
    ]
    expect(lines).toHaveLength(2)
    for (const [, c, sealgate, ratio, verdict] of lines) {
      expect(number(c)).toBeGreaterThan(least)
      expect(number(sealgate)).toBeGreaterThan(least)
      // Rounded to three digits where they are printed.
      expect(number(sealgate) / number(c)).toBeCloseTo(number(ratio), 1)
      expect(verdict).toBe(Math.abs(number(ratio) - 1) <= 0.1 ? 'agree' : 'DISAGREE')
    }
    expect(status).toBe(lines.every(([, , , , verdict]) => verdict === 'agree') ? 0 : 1)
    expect(stdout).toMatch(/^taken by others: hypervisor [\d.]+ %, other processes [\d.]+ %/m)
  },
  70_000,
)

import { expect, test } from 'vitest'
import { ResetBudget } from '../../../src/proxy/reset-budget.ts'

test('a burst is allowed, a flood is not', () => {
  const budget = new ResetBudget()
  let allowed = 0
  while (budget.spend()) allowed += 1

  expect(allowed).toBeGreaterThanOrEqual(200)
  expect(allowed).toBeLessThan(260)
})

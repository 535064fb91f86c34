/** README.md draws the life of a member and the ladder: the same as the code has, arrow by arrow and name by name. */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'

import { RUNGS, returnValue } from '../../../src/hsm/ckr.ts'
import { Climb } from '../../../src/hsm/climb.ts'
import { WAYS } from '../../../src/hsm/member-life.ts'

const readme = readFileSync(new URL('../../../src/hsm/README.md', import.meta.url), 'utf8')
const binding: Record<string, unknown> = createRequire(import.meta.url)('pkcs11js')

test('the arrows between the states are those of the table', () => {
  const drawing = readme.match(/```mermaid\nstateDiagram-v2\n(.*?)```/s)?.[1] ?? ''
  const drawn = [...drawing.matchAll(/^ *(\w+) --> (\w+): .+$/gm)].map(([, from, to]) => `${from} → ${to}`)
  const known = Object.entries(WAYS).flatMap(([from, states]) => states.map((to) => `${from} → ${to}`))

  expect(drawn.length).toBeGreaterThan(15)
  expect(drawn.sort()).toEqual(known.sort())
})

test('each rung says how long it may take', () => {
  const problem = { code: 'ERR_HSM_FAILED', message: '', rv: null, call: null, final: false } as const
  const openingMs = 12_345
  const limits = RUNGS.map((rung) => {
    if (rung === 'host') return ''
    const limitMs = new Climb({ rung, attempt: 1, problem }).limitMs(openingMs)
    return limitMs === openingMs ? 'an opening' : `${limitMs / 1000} s`
  })

  const drawn = [...readme.matchAll(/^\| `(\w+)` +\|[^|]*\| ([^|]*?) *\|.*\|$/gm)]
  const shown = RUNGS.map((rung) => drawn.find(([, name]) => name === rung)?.[2])
  expect(shown).toEqual(limits)
})

test('the rungs are drawn in their order, each with the return values that start there', () => {
  const rows = [...readme.matchAll(/^\| `(\w+)` +\|(.*)\|$/gm)].filter(([, name]) =>
    RUNGS.some((rung) => rung === name),
  )

  expect(rows.map(([, name]) => name)).toEqual([...RUNGS])
  for (const rung of ['login', 'keys', 'module']) {
    const row = rows.find(([, name]) => name === rung)?.[2] ?? ''
    const starting = Object.entries(binding).flatMap(([name, rv]) =>
      name.startsWith('CKR_') && typeof rv === 'number' && returnValue(rv).action === rung ? [name] : [],
    )
    expect([...row.matchAll(/CKR_\w+/g)].map(([name]) => name).sort()).toEqual(starting.sort())
  }
})

/** README.md draws the life of a member and the ladder: the same as the code has, arrow by arrow and name by name. */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'

import { RUNGS, returnValue } from '../../../src/hsm/ckr.ts'
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

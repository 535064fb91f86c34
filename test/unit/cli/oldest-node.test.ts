import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { nodeProblem, OLDEST_NODE } from '../../../src/cli/oldest-node.ts'

test.each(['18.20.8', '20.9.0', '20.18.0', '9.0.0'])('Node %s is too old, and that is said', (version) => {
  expect(nodeProblem(version)).toContain(`needs Node ${OLDEST_NODE} or newer; this is Node ${version}`)
})

test.each(['20.18.1', '20.20.0', '22.0.0', '26.0.0', '24.0.0-nightly20260101'])(
  'Node %s is not',
  (version) => {
    expect(nodeProblem(version)).toBeUndefined()
  },
)

test('it is the one of package.json', () => {
  const { engines } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))

  expect(engines.node).toBe(`>=${OLDEST_NODE}`)
})

/**
 * One member returns signatures with a bit turned. Each is found out before it is used, the other member signs instead,
 * and the liar is taken out and named. RSA is verified always, since a faulty RSA signature gives the key away; ECDSA
 * when the configuration says so.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { failures } from '../support/handshake-load.ts'
import { figures, normalMs, onset, record } from './support/figures.ts'
import { onOwnProcessors } from './support/rounds.ts'
import { expectUnharmed, type StageOptions, TwoMembers } from './support/two-members.ts'

test.each<[string, StageOptions]>([
  ['ECDSA, with `verify: always`', { keyType: 'ec', config: { signing: { verify: 'always' } } }],
  ['RSA, as it is by default', { keyType: 'rsa' }],
])(
  'wrong signatures reach no client: %s',
  async (kind, options) => {
    await using stage = await TwoMembers.start(options)
    const normal = await stage.normal()

    const { during, boundMs } = await onOwnProcessors(async () => {
      const outcome = await stage.underLoad(async () => {
        stage.setFaults('hsm-a', 'C_Sign wrong')
        await delay(TROUBLE_MS) // the length of the fault
        const { state } = await stage.status('hsm-a')
        stage.clearFaults('hsm-a')
        return { state, recoveryMs: Math.round(await stage.untilUp('hsm-a')) }
      })

      const { handshakes, span, stolen } = outcome
      const { state, recoveryMs } = outcome.result
      const during = figures(outcome.each, { ...span, toMs: span.fromMs + TROUBLE_MS })
      record(`one member returns wrong signatures, ${kind}`, {
        ...{
          handshakes,
          failed: failures(outcome),
          normal,
          onset: figures(outcome.each, onset(span)),
          during,
        },
        ...{ stolen, recoveryMs },
      })
      expectUnharmed(outcome)
      expect(state).not.toBe('up')
      return { during, stolen, boundMs: 2 * normalMs(normal) }
    })

    expect(during.p99Ms).toBeLessThanOrEqual(boundMs)
    const named = stage.sealgate.lines.filter(
      (line) => line.level === 'warn' && JSON.stringify(line).includes('hsm-a'),
    )
    expect(named).not.toEqual([])
    await stage.finish()
  },
  60_000,
)

const TROUBLE_MS = 2_000

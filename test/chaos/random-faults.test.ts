/**
 * Sixty seconds of random faults under load, or as many minutes as asked for: `npm test -- --minutes 30 random-faults`.
 * One member at a time is in trouble, often in several troubles in a row, and the other one lives: so no handshake may
 * fail. Memory and descriptors are sampled all along, and at the end the audit log must have every use of a key, once.
 *
 * What happens follows from a seed alone, which is printed; `--seed N` plays the same faults again.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { failures, nowMs, type SteadyResult } from '../support/handshake-load.ts'
import { sealgateCommand } from '../support/sealgate.ts'
import { type Account, auditFiles, countedUses, recordedUses } from './support/audit-account.ts'
import { figures, record, type Span } from './support/figures.ts'
import { type FaultAct, planFaults } from './support/random-plan.ts'
import { flatness, ResourceSamples, YOUNG_GENERATION_OF_ONE_SIZE } from './support/resource-samples.ts'
import { expectUnharmed, MEMBERS, type MemberName, TwoMembers } from './support/two-members.ts'

const DURATION_MS = Number(process.env['SEALGATE_CHAOS_MINUTES'] ?? 1) * 60_000
const SEED = Number(process.env['SEALGATE_CHAOS_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

/**
 * Between the second quarter of the time and the last. Old space and the allocator's arenas vary by nearly as much when
 * handshakes pile up on a busy machine, so one minute shows leaks of 2 KB a handshake, and thirty show 80 bytes.
 */
const FLAT_MIB = 8
/**
 * Memory that has grown by more is given that time again, so often at most, and is judged over all of it: a leak has grown
 * further by then, and what has only come in a burst has not.
 */
const LONGER_AT_MOST = 3

let stage: TwoMembers

beforeAll(async () => {
  stage = await TwoMembers.start({
    // ECDSA signatures are verified too: some of the faults are wrong ones.
    config: { signing: { verify: 'always' } },
    audit: true,
    env: YOUNG_GENERATION_OF_ONE_SIZE,
  })
})

afterAll(() => stage?.[Symbol.asyncDispose]())

test(
  `no handshake fails in ${DURATION_MS / 1_000} s of random faults while one member lives`,
  async () => {
    process.stdout.write(`chaos: seed ${SEED}\n`)
    const normal = await stage.normal()
    using samples = new ResourceSamples(stage.sealgate)

    const outcome = await stage.underLoad(async () => {
      let endMs = performance.now() + DURATION_MS
      let longer = 0
      const played: Played[] = []
      for (const { member, faults } of planFaults(SEED, MEMBERS)) {
        if (performance.now() > endMs) {
          if (flatness(samples.residentMiB).growth <= FLAT_MIB || longer === LONGER_AT_MOST) break
          longer += 1
          endMs += DURATION_MS
        }
        const fromMs = nowMs()
        for (const act of faults) await play(member, act)
        stage.clearFaults(member)
        const healed = await heal(member)
        played.push({ member, faults, healed, span: { fromMs, toMs: nowMs() } })
        if (!healed.up) break // the next fault might fall upon the other one
      }
      return played
    })
    const played = outcome.result
    const unhealed = played.filter(({ healed }) => !healed.up)

    const memory = flatness(samples.residentMiB)
    record(`${DURATION_MS / 60_000} min of random faults`, {
      ...{
        seed: SEED,
        tookS: Math.round((outcome.span.toMs - outcome.span.fromMs) / 1_000),
        acts: played.flatMap(({ faults }) => faults).length,
        slowestHealMs: Math.max(...played.map(({ healed }) => healed.tookMs)),
        unhealed: unhealed.map(({ member, faults, healed }) => ({ member, faults, ...healed })),
        handshakes: outcome.handshakes,
        failed: failures(outcome),
        normal,
        during: figures(outcome.each, outcome.span),
        slowest: slowest(played, outcome),
      },
      ...{ residentMiB: memory, descriptors: flatness(samples.descriptors) },
    })
    samples[Symbol.dispose]()
    expect(unhealed).toEqual([])
    expectUnharmed(outcome)
    expect(memory.growth).toBeLessThanOrEqual(FLAT_MIB)
    const counted = await untilRecorded()
    await stage.finish()
    await expectAudited(counted, normal.handshakes + outcome.handshakes)
  },
  (1 + LONGER_AT_MOST) * DURATION_MS + 60_000,
)

interface Played {
  readonly member: MemberName
  readonly faults: readonly FaultAct[]
  readonly healed: Healed
  /** From the first fault until the member was up again. */
  readonly span: Span
}

/** Up and signing soon after its faults have ended, or not, and then what `/status` says of it. */
type Healed = { up: true; tookMs: number } | { up: false; tookMs: number; status: object }

async function heal(member: MemberName): Promise<Healed> {
  const fromMs = nowMs()
  const up = await stage.untilSigns(member).then(
    () => true,
    () => false,
  )
  const tookMs = Math.round(nowMs() - fromMs)
  return up ? { up, tookMs } : { up, tookMs, status: await stage.status(member) }
}

/** The faults in whose time the slowest handshakes fall. */
function slowest(played: readonly Played[], { each }: SteadyResult): object[] {
  return played
    .map(({ member, faults, span }) => ({
      maxMs: figures(each, span).maxMs,
      member,
      faults: faults.map(({ rules, signal }) => signal ?? rules.join('; ')),
    }))
    .sort((a, b) => b.maxMs - a.maxMs)
    .slice(0, 3)
}

/** Everything that has happened is in the log, and a checkpoint covers it. @returns what the metrics say it is. */
async function untilRecorded(): Promise<Account> {
  return await vi.waitFor(
    async () => {
      const counted = countedUses(await stage.sealgate.metrics())
      const recorded = await recordedUses(stage.audit.file)
      expect(recorded.account).toEqual(counted)
      expect(recorded.covered).toBe(true)
      return counted
    },
    { timeout: 20_000, interval: 250 },
  )
}

/** No record is lost or doubled over all the ends of hosts, and nobody has to believe it. */
async function expectAudited(counted: Account, handshakes: number): Promise<void> {
  const { account, used } = await recordedUses(stage.audit.file)
  expect(account).toEqual(counted)
  expect(used).toBeGreaterThanOrEqual(handshakes)
  const verify = ['audit', 'verify', '--public-key', stage.audit.publicKey]
  const verified = await sealgateCommand([...verify, ...auditFiles(stage.audit.file)])
  expect(verified).toMatchObject({ status: 0, stderr: '' })
}

async function play(member: MemberName, { rules, signal, lastsMs }: FaultAct): Promise<void> {
  stage.setFaults(member, ...rules)
  if (signal !== undefined) {
    const { pid } = await stage.status(member)
    if (pid !== undefined) killIfThere(pid, signal)
  }
  await delay(lastsMs) // the length of the fault
}

/** It may have ended for another reason since we asked. */
function killIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {}
}

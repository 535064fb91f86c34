/**
 * The stage of this ring: the real program in front of two HSMs that hold the same key, each behind the fault module,
 * and full handshakes at a steady rate, whatever happens.
 *
 * Two SoftHSMs with a directory each, as two real HSMs share no disk. The key was made outside and put into both: that
 * is how replicas of a key come to be where an HSM cannot clone.
 */

import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, vi } from 'vitest'
import {
  failures,
  HandshakeLoad,
  nowMs,
  type RunningLoad,
  type SteadyResult,
} from '../../support/handshake-load.ts'
import { Faults } from '../../support/p11-faults.ts'
import { descendants } from '../../support/process-tree.ts'
import { type Sealgate, type Status, startSealgate } from '../../support/sealgate.ts'
import { Site } from '../../support/site.ts'
import { SoftHsm } from '../../support/softhsm.ts'
import { type Figures, figures, type Span } from './figures.ts'
import { watchStolen } from './rounds.ts'

/** Full handshakes a second. Fewer prove the counts on a machine that is busy otherwise; the latencies need all. */
const RATE = Number(process.env['SEALGATE_CHAOS_RATE'] ?? 300)

export type MemberName = 'hsm-a' | 'hsm-b'
export const MEMBERS: readonly MemberName[] = ['hsm-a', 'hsm-b']

export interface StageOptions {
  readonly keyType?: 'ec' | 'rsa'
  /** Over the defaults of a configuration. */
  readonly config?: object
  /** Over the environment. */
  readonly env?: NodeJS.ProcessEnv
  /** Every use of a key goes into an audit log, whose checkpoints a key in both HSMs signs. */
  readonly audit?: boolean
}

export interface AuditFiles {
  readonly file: string
  /** PEM, of the key that signs the checkpoints. */
  readonly publicKey: string
}

export interface Outcome<T> extends SteadyResult {
  /** What the event returned. */
  readonly result: T
  /** Of the event. */
  readonly span: Span
  /** Share of the machine's processor time that the hypervisor gave to others during it and just before, 0 to 1. */
  readonly stolen: number
}

type MemberStatus = Status['hsms'][number]

/** What every row demands: not one handshake failed, all were full ones, and they came as fast as they should. */
export function expectUnharmed(outcome: SteadyResult): void {
  expect(outcome.firstError).toBe('')
  expect(failures(outcome)).toBe(0)
  expect(outcome.resumed).toBe(0)
  expect(Math.ceil(outcome.started / outcome.seconds)).toBeGreaterThanOrEqual(RATE)
}

export class TwoMembers implements AsyncDisposable {
  readonly sealgate: Sealgate
  /** Gone with the stage. */
  readonly audit: AuditFiles
  readonly #faults: Readonly<Record<MemberName, Faults>>
  readonly #load: HandshakeLoad
  readonly #owned: readonly Disposable[]

  static async start(options: StageOptions = {}): Promise<TwoMembers> {
    const { keyType = 'ec', config = {}, env = {} } = options
    const site = new Site()
    const [a, b] = [new SoftHsm(), new SoftHsm()]
    const load = await HandshakeLoad.compile()
    const owned = [load, a, b, site]
    try {
      const key = newKey(keyType)
      const auditKey = newKey('ec')
      const keys = { [LABEL]: key, ...(options.audit && { [AUDIT_LABEL]: auditKey }) }
      const audit = auditFiles(site, auditKey)
      const faults = { 'hsm-a': new Faults(a, 'hsm-a'), 'hsm-b': new Faults(b, 'hsm-b') }
      const hsms = { 'hsm-a': member(a, faults['hsm-a'], keys), 'hsm-b': member(b, faults['hsm-b'], keys) }
      const certificates = [site.certificateFor({ label: LABEL, spki: key.spki, hsms: MEMBERS })]
      // The upstream is asked for nothing: what is measured ends with the handshake.
      const sealgate = await startSealgate({
        config: site.config([9], {
          ...{ hsms, certificates },
          ...(options.audit && { audit: auditConfig(audit) }),
          ...config,
        }),
        env: { ...process.env, ...env },
      })
      return new TwoMembers({ sealgate, audit, faults, load, owned })
    } catch (error) {
      for (const part of owned) part[Symbol.dispose]()
      throw error
    }
  }

  private constructor(parts: {
    sealgate: Sealgate
    audit: AuditFiles
    faults: Readonly<Record<MemberName, Faults>>
    load: HandshakeLoad
    owned: readonly Disposable[]
  }) {
    this.sealgate = parts.sealgate
    this.audit = parts.audit
    this.#faults = parts.faults
    this.#load = parts.load
    this.#owned = parts.owned
  }

  /** Rules of p11-faults.c. */
  setFaults(member: MemberName, ...rules: readonly string[]): void {
    this.#faults[member].set(...rules)
  }

  clearFaults(member: MemberName): void {
    this.#faults[member].clear()
  }

  /** Clients that behave as the arguments of the load generator say, until they are told otherwise. */
  clients(...args: readonly string[]): RunningLoad {
    return this.#load.start(this.sealgate.port(), ...args)
  }

  async status(member: MemberName): Promise<MemberStatus> {
    const { hsms } = await this.sealgate.status()
    const status = hsms.find(({ name }) => name === member)
    if (status === undefined) throw new Error(`/status does not know ${member}`)
    return status
  }

  /** PKCS#11 calls that failed with this return value, so far. */
  async errors(member: MemberName, rv: string): Promise<number> {
    return (await this.sealgate.metrics()).sum('sealgate_hsm_errors_total', { hsm: member, rv })
  }

  async hostPid(member: MemberName): Promise<number> {
    const { pid } = await this.status(member)
    if (pid === undefined) throw new Error(`${member} has no host process now`)
    return pid
  }

  /** @returns how many milliseconds it took. @throws when it has not come up within ten seconds, or `timeout`. */
  async untilUp(
    member: MemberName,
    {
      except,
      timeout = HEAL.timeout,
    }: { readonly except?: { readonly pid: number }; readonly timeout?: number } = {},
  ): Promise<number> {
    const began = nowMs()
    await vi.waitFor(
      async () => {
        const { state, pid } = await this.status(member)
        expect(state).toBe('up')
        if (except !== undefined) expect(pid).not.toBe(except.pid)
      },
      { ...HEAL, timeout },
    )
    return nowMs() - began
  }

  /**
   * As `untilUp`, and it has signed for clients since: a member that began to hang a moment ago is still `up`.
   *
   * @throws when that takes longer than ten seconds.
   */
  async untilSigns(member: MemberName): Promise<number> {
    const began = nowMs()
    const before = await this.#signatures(member)
    await vi.waitFor(async () => {
      expect((await this.status(member)).state).toBe('up')
      expect(await this.#signatures(member)).toBeGreaterThan(before + SIGNATURES_THAT_PROVE)
    }, HEAL)
    return nowMs() - began
  }

  async #signatures(member: MemberName): Promise<number> {
    return (await this.sealgate.metrics()).sum('sealgate_signatures_total', { hsm: member, result: 'ok' })
  }

  /** What handshakes cost while nothing is wrong, once everything is warm: compiled, connected, with open sessions. */
  async normal(): Promise<Figures> {
    const outcome = await this.underLoad(async () => {
      await delay(WARM_UP_MS)
      const fromMs = nowMs()
      await delay(NORMAL_MS) // the length of the measurement
      return { fromMs, toMs: nowMs() }
    })
    expectUnharmed(outcome)
    return figures(outcome.each, outcome.result)
  }

  /** Load around an event. It begins when handshakes flow, and the load goes on a little after it. */
  async underLoad<T>(event: () => Promise<T>): Promise<Outcome<T>> {
    // From the load's begin: handshakes that were held up just before the event are under way in it.
    const stolen = watchStolen()
    const load = this.#load.steady(this.sealgate.port(), { rate: RATE })
    const before = await this.#handshakes()
    await vi.waitFor(async () => expect(await this.#handshakes()).toBeGreaterThan(before + RATE / 2), HEAL)
    const fromMs = nowMs()
    const result = await event().catch(async (error: unknown) => {
      await load.stop()
      throw error
    })
    const span = { fromMs, toMs: nowMs() }
    const seen = { result, span, stolen: stolen() }
    await delay(AFTERWARDS_MS) // what the event left behind would show now
    return { ...seen, ...(await load.stop()) }
  }

  /**
   * The last thing a row does. Conservation: gauges at zero, as many descriptors as at the start, one process per
   * member and no zombie; then a clean end that leaves no process behind, known to the program or not.
   */
  async finish(): Promise<void> {
    for (const member of MEMBERS) {
      this.clearFaults(member)
      await this.untilUp(member)
    }
    await this.sealgate.untilAtRest()
    for (const member of MEMBERS) {
      const { inFlight, sessions } = await this.status(member)
      expect(inFlight).toBe(0)
      expect(sessions.open).toBeLessThanOrEqual(SESSIONS)
    }
    expect(descendants(this.sealgate.pid)).toHaveLength(MEMBERS.length)
    await this.sealgate.finish()
    await vi.waitFor(() => expect(this.#processesOfOurs()).toEqual([]), HEAL)
  }

  /** Also what has lost its parent: a host is known by the control file in its environment. */
  #processesOfOurs(): string[] {
    const ours = MEMBERS.map((name) => this.#faults[name].env['SEALGATE_FAULTS_CONTROL'] ?? '')
    return readdirSync('/proc').filter((name) => {
      if (!/^\d+$/.test(name)) return false
      try {
        const environment = readFileSync(`/proc/${name}/environ`, 'utf8')
        return ours.some((file) => environment.includes(file))
      } catch {
        return false // ended meanwhile, or somebody else's
      }
    })
  }

  async #handshakes(): Promise<number> {
    return (await this.sealgate.metrics()).sum('sealgate_handshakes_total', { result: 'ok' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sealgate[Symbol.asyncDispose]()
    for (const part of this.#owned) part[Symbol.dispose]()
  }
}

interface Key {
  readonly spki: Buffer
  readonly pkcs8Pem: string
}

function newKey(type: 'ec' | 'rsa'): Key {
  const { privateKey } =
    type === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    spki: createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    pkcs8Pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

function auditFiles(site: Site, { spki }: Key): AuditFiles {
  const publicKey = join(site.directory, 'audit.pub.pem')
  const pem = createPublicKey({ key: spki, format: 'der', type: 'spki' }).export({
    type: 'spki',
    format: 'pem',
  })
  writeFileSync(publicKey, pem)
  return { file: join(mkdtempSync(join(site.directory, 'audit-')), 'audit.jsonl'), publicKey }
}

function auditConfig({ file, publicKey }: AuditFiles): object {
  const key = { uri: `pkcs11:object=${AUDIT_LABEL};type=private`, hsms: MEMBERS }
  return { file, rotate: '4MiB', checkpoint: { key, public_key: publicKey, every: '1s' } }
}

function member(hsm: SoftHsm, faults: Faults, keys: Readonly<Record<string, Key>>): object {
  const token = hsm.addToken('web')
  Object.entries(keys).forEach(([label, { pkcs8Pem }], index) => {
    token.importKey({ label, id: `0${index + 1}`, pkcs8Pem })
  })
  const { module, env } = faults.options
  // Without the log of calls: nobody reads it here, and under load it would be most of what the module does.
  const { SEALGATE_FAULTS_LOG: _, ...faultsEnv } = env
  return { module, token: token.label, pin: { file: token.pinFile }, sessions: SESSIONS, env: faultsEnv }
}

const LABEL = 'replicated'
const AUDIT_LABEL = 'checkpoints'
const SESSIONS = 8
/** More than it can have had in hand: its sessions, and what waits in its host. */
const SIGNATURES_THAT_PROVE = 3 * SESSIONS
const HEAL = { timeout: 10_000, interval: 20 }
const WARM_UP_MS = 1_500
const NORMAL_MS = 2_000
const AFTERWARDS_MS = 500

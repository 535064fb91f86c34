/**
 * The signing side of Sealgate: keys to sign with, and the HSMs behind them.
 *
 * One host process and one member per HSM, whatever number of keys it holds; one pooled key per certificate.
 */

import { HsmError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { KeyType, SigningKey } from '../signing.ts'
import { defaultHostEntry } from './host-process.ts'
import { KeyMetrics } from './key-metrics.ts'
import type { KeyPurpose, KeyUse } from './key-use.ts'
import { Member } from './member.ts'
import type { WantedKey } from './member-keys.ts'
import { MemberMetrics } from './member-metrics.ts'
import type { HsmOptions, KeyOptions, SigningOptions } from './options.ts'
import type { KeyOutlook } from './outlook.ts'
import { type Holder, PooledKey } from './pooled-key.ts'
import { keyFacts } from './public-key.ts'
import type { HsmStatus, KeyStatus } from './status.ts'

export type { HsmStatus, KeyOutlook, KeyStatus }

/** A key of the configuration with what its certificate says of it. */
export interface CertificateKey {
  readonly key: KeyOptions
  /** DER SubjectPublicKeyInfo of the certificate. */
  readonly spki: Uint8Array
  readonly keyType?: KeyType
  /** `tls` unless said otherwise. */
  readonly purpose?: KeyPurpose
}

export interface SigningServiceOptions {
  readonly hsms: readonly HsmOptions[]
  readonly keys: readonly CertificateKey[]
  readonly signing: SigningOptions
  readonly log: Log
  readonly metrics: Metrics
  /** Told of every use of a key and every login, when it has ended; must not throw. */
  readonly onUse?: (use: KeyUse) => void
  /** Which keys are ready, or with which schemes, may have changed. Called in the middle of it: look later. */
  readonly onHealth?: () => void
  /** Program of the host processes; the built one unless a test has its own. */
  readonly hostEntry?: string
}

export class SigningService {
  readonly #members: readonly Member[]
  readonly #keys: readonly PooledKey[]
  #ticker: NodeJS.Timeout | undefined
  #state: 'new' | 'started' | 'closed' = 'new'
  #closing: Promise<void> | undefined

  constructor(options: SigningServiceOptions) {
    const members = new Map(options.hsms.map((hsm) => [hsm.name, this.#createMember(hsm, options)]))
    this.#members = [...members.values()]
    this.#keys = options.keys.map(
      ({ key, spki, purpose = 'tls' }) =>
        new PooledKey({
          key,
          spki,
          purpose,
          onUse: options.onUse ?? (() => {}),
          holders: holdersOf(key, members, options.keys),
          signing: options.signing,
          metrics: new KeyMetrics(options.metrics, key.uri),
          onWork: () => this.#tickSoon(),
        }),
    )
  }

  /**
   * Starts the host processes.
   *
   * @returns what is wrong, by HSM and by key of an HSM; empty when every member signs with every key. Never throws for
   *   an HSM's sake: members that failed go on trying, unless trying could lock a token. Resolves when every
   *   member has made its test signatures or failed its first try.
   */
  async start(): Promise<readonly HsmError[]> {
    if (this.#state !== 'new') throw new HsmError('ERR_HSM_CLOSED', 'a signing service starts once')
    this.#state = 'started'
    await Promise.all(this.#members.map((member) => member.start()))
    return this.problems()
  }

  /** What is wrong now, by HSM and by key of an HSM. */
  problems(): readonly HsmError[] {
    return this.#members.flatMap((member) => member.problems())
  }

  /** @param index as in `options.keys`. The same object every time; valid until `close()`. */
  key(index: number): SigningKey & { readonly ready: boolean; outlook(): KeyOutlook; status(): KeyStatus } {
    const key = this.#keys[index]
    if (key === undefined) throw new RangeError(`there is no key ${index}`)
    return key
  }

  status(): HsmStatus[] {
    return this.#members.map((member) => member.status())
  }

  /** Fails what waits with `ERR_HSM_CLOSED` and ends the hosts, by force after two seconds. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#state = 'closed'
    clearTimeout(this.#ticker)
    for (const key of this.#keys) key.close()
    await Promise.all(this.#members.map((member) => member.close()))
  }

  #createMember(hsm: HsmOptions, options: SigningServiceOptions): Member {
    const metrics = new MemberMetrics(options.metrics, hsm.name)
    return new Member({
      hsm,
      keys: options.keys
        .filter(({ key }) => key.hsms.includes(hsm.name))
        .map((key) => wantedKey(key, hsm.name)),
      entry: options.hostEntry ?? defaultHostEntry(),
      hangMs: options.signing.timeoutMs,
      log: options.log,
      metrics,
      onUse: (use) => {
        if (use.kind === 'login') metrics.loggedIn(use.result)
        else if (use.reason === 'test') metrics.tested(use.result)
        options.onUse?.(use)
      },
      onChange: (member) => this.#memberChanged(member),
      onHealth: () => {
        for (const key of this.#keys) key.healthChanged()
        options.onHealth?.()
      },
    })
  }

  #memberChanged(member: Member): void {
    for (const key of this.#keys) key.membersChanged()
    if (member.inFlight > 0) this.#tickSoon()
  }

  /** One timer for all deadlines; it runs only while there is something to watch. */
  #tickSoon(): void {
    if (this.#ticker !== undefined || this.#state === 'closed') return
    this.#ticker = setTimeout(() => {
      this.#ticker = undefined
      const nowMs = performance.now()
      let busy = false
      for (const key of this.#keys) busy = key.tick(nowMs) || busy
      for (const member of this.#members) {
        member.tick(nowMs)
        busy = member.inFlight > 0 || busy
      }
      if (busy) this.#tickSoon()
    }, TICK_MS)
  }
}

// Deadlines are seconds and hedges 10 ms at least: this is fine enough for both.
const TICK_MS = 5

function holdersOf(
  key: KeyOptions,
  members: ReadonlyMap<string, Member>,
  keys: readonly CertificateKey[],
): readonly Holder[] {
  return key.hsms.map((name) => {
    const member = members.get(name)
    if (member === undefined) throw new RangeError(`key ${key.uri} names an unknown HSM ${name}`)
    return {
      member,
      key: keys
        .map(({ key }) => key)
        .filter(({ hsms }) => hsms.includes(name))
        .indexOf(key),
    }
  })
}

function wantedKey({ key, spki, purpose = 'tls' }: CertificateKey, hsm: string): WantedKey {
  const { uri, label, id } = key.byHsm?.get(hsm) ?? key
  return {
    spki,
    publicKey: keyFacts(spki).publicKey,
    message: {
      uri,
      label: label ?? null,
      idHex: id === undefined ? null : Buffer.from(id).toString('hex'),
      spki: Buffer.from(spki).toString('base64'),
      purpose,
    },
  }
}

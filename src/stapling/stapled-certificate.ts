/**
 * One certificate and its response, from the cache of the last run through every refresh to the end of the last
 * response.
 *
 * A response is in force until it ends or the responder says that the certificate is revoked, whatever happens to its
 * successor: trouble costs nothing until then.
 */

import type { Log } from '../log.ts'
import type { OcspSubject } from '../native/addon.ts'
import type { ResponseCache } from './cache.ts'
import type { StapledOptions } from './options.ts'
import type { Source } from './source.ts'
import { judge, type Staple, time, type Verdict } from './verdict.ts'

export interface StapledCertificateOptions extends StapledOptions {
  readonly subject: OcspSubject
  readonly source: Source
  readonly cache: ResponseCache | undefined
  readonly log: Log
  /** What is in force has changed. */
  readonly onChange: () => void
  /** A response was asked for; values of a metric label. */
  readonly onRefresh: (outcome: Verdict['outcome']) => void
}

export class StapledCertificate {
  readonly #options: StapledCertificateOptions
  readonly #closing = new AbortController()
  readonly #id: string
  #current: Staple | undefined
  /** thisUpdate of the newest authentic answer: older ones say nothing any more. */
  #newestMs = Number.NEGATIVE_INFINITY
  #last: { readonly atMs: number; readonly outcome: string; readonly message?: string } | undefined
  #nextAtMs: number | undefined
  #refreshTimer: NodeJS.Timeout | undefined
  #endTimer: NodeJS.Timeout | undefined

  constructor(options: StapledCertificateOptions) {
    this.#options = options
    this.#id = Buffer.from(options.subject.fingerprint).toString('hex')
  }

  /** Begins to ask, or goes on with what the cache has. Never rejects. */
  async start(): Promise<void> {
    const { cache, subject } = this.#options
    const kept = await cache?.read(this.#id)
    if (this.#closing.signal.aborted) return
    const verdict = kept && judge(subject, kept, Date.now())
    if (verdict?.outcome === 'good' || verdict?.outcome === 'revoked') this.#take(verdict, 'cache')
    if (this.#current === undefined) await this.#refresh()
    else this.#refreshIn(true)
  }

  /** Good now. */
  get current(): Staple | undefined {
    return this.#current !== undefined && this.#current.endsMs > Date.now() ? this.#current : undefined
  }

  get revoked(): boolean {
    return this.#last?.outcome === 'revoked'
  }

  status(): object {
    const { current } = this
    return {
      source: this.#options.source.place,
      stapled: current !== undefined,
      thisUpdate: current && time(current.thisUpdateMs),
      nextUpdate: current && time(current.endsMs),
      lastRefresh: this.#last && { ...this.#last, atMs: undefined, at: time(this.#last.atMs) },
      nextRefresh: this.#nextAtMs === undefined ? undefined : time(this.#nextAtMs),
    }
  }

  /** Asks and watches no more. Idempotent. */
  close(): void {
    this.#closing.abort()
    clearTimeout(this.#refreshTimer)
    clearTimeout(this.#endTimer)
  }

  async #refresh(): Promise<void> {
    clearTimeout(this.#refreshTimer)
    this.#nextAtMs = undefined
    const verdict = await this.#options.source.ask(this.#closing.signal)
    if (this.#closing.signal.aborted) return
    if (verdict !== undefined) {
      this.#options.onRefresh(verdict.outcome)
      this.#take(verdict, 'source')
    }
    this.#refreshIn(verdict?.outcome === 'good')
  }

  #take(verdict: Verdict, from: 'cache' | 'source'): void {
    const before = this.#last?.outcome
    const message = 'message' in verdict ? verdict.message : undefined
    this.#last = { atMs: Date.now(), outcome: verdict.outcome, ...(message !== undefined && { message }) }
    if (verdict.outcome === 'good') this.#takeGood(verdict.staple, from)
    else if (verdict.outcome === 'revoked') this.#takeRevoked(verdict, from, before)
    else this.#takeTrouble(verdict.outcome, verdict.message, before)
  }

  #takeGood(staple: Staple, from: 'cache' | 'source'): void {
    // From a cache on the way; what is here is newer.
    if (staple.thisUpdateMs < this.#newestMs) return
    const same = staple.thisUpdateMs === this.#newestMs && this.#current !== undefined
    this.#newestMs = staple.thisUpdateMs
    if (same) return
    this.#current = staple
    this.#endIn()
    if (from === 'source') this.#keep(staple.response)
    this.#log('info', 'OCSP response is stapled', { from, nextUpdate: time(staple.endsMs) })
    this.#options.onChange()
  }

  #takeRevoked(
    verdict: Extract<Verdict, { outcome: 'revoked' }>,
    from: 'cache' | 'source',
    before: string | undefined,
  ): void {
    if (verdict.thisUpdateMs < this.#newestMs) return
    this.#newestMs = verdict.thisUpdateMs
    // A restart must not find the good one of before.
    if (from === 'source') this.#keep(verdict.response)
    if (before !== 'revoked') this.#log('error', 'certificate is revoked', { reason: verdict.message })
    this.#drop()
  }

  #takeTrouble(outcome: string, message: string, before: string | undefined): void {
    // Once for each kind: the next tries are alike.
    const level = outcome === before ? 'debug' : 'warn'
    const until = this.#current && time(this.#current.endsMs)
    this.#log(level, 'no OCSP response', { outcome, reason: message, stapledUntil: until })
  }

  #drop(): void {
    clearTimeout(this.#endTimer)
    if (this.#current === undefined) return
    this.#current = undefined
    this.#options.onChange()
  }

  #keep(response: Uint8Array): void {
    void this.#options.cache?.write(this.#id, response)
  }

  #refreshIn(answered: boolean): void {
    const nowMs = Date.now()
    const delayMs = this.#options.source.delayMs(this.#current, answered, nowMs)
    this.#nextAtMs = nowMs + delayMs
    this.#refreshTimer = setTimeout(() => void this.#refresh(), delayMs)
    this.#refreshTimer.unref()
  }

  /** TLS does not send it from then on anyway; this is for those who look. */
  #endIn(): void {
    clearTimeout(this.#endTimer)
    const leftMs = (this.#current?.endsMs ?? 0) - Date.now()
    // Timers count to 24 days, and not through a suspended machine.
    this.#endTimer = setTimeout(() => this.#ended(), Math.min(leftMs + 1, HOUR_MS))
    this.#endTimer.unref()
  }

  #ended(): void {
    if (this.current !== undefined) this.#endIn()
    else {
      this.#log('warn', 'OCSP response has expired: nothing is stapled', { reason: this.#last?.message })
      this.#drop()
    }
    // Of a machine that was suspended, or whose clock was set: its timer would come as much later.
    if (this.#nextAtMs !== undefined && Date.now() > this.#nextAtMs + LATE_MS) void this.#refresh()
  }

  #log(level: 'debug' | 'info' | 'warn' | 'error', message: string, facts: object): void {
    const { certificate, source, log } = this.#options
    log[level]({ certificate: certificate.file, responder: source.place, ...facts }, message)
  }
}

const HOUR_MS = 3_600_000
/** More than a busy process makes of a timer. */
const LATE_MS = 10_000

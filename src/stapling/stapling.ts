/**
 * OCSP stapling for all certificates: which have a response in force, and what TLS is given.
 *
 * Runs beside everything else and holds nothing up, but the first listening of a certificate that must not be without
 * a response, and that for a bounded time.
 */

import { EventEmitter, once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { Agent } from 'undici'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { NativeAddon, NativeStaple, OcspSubject } from '../native/addon.ts'
import { ResponseCache } from './cache.ts'
import { MAX_RESPONSE_BYTES } from './exchange.ts'
import type { StapledOptions, StaplingOptions } from './options.ts'
import { type Plan, planFor } from './plan.ts'
import { Responder } from './responder.ts'
import { ResponseFile } from './response-file.ts'
import type { Source } from './source.ts'
import { StapledCertificate } from './stapled-certificate.ts'

export interface StaplingParts {
  readonly addon: Pick<NativeAddon, 'OcspSubject'>
  readonly options: Pick<StaplingOptions, 'cache' | 'timeoutMs'>
  readonly log: Log
  readonly metrics: Metrics
  /** TLS is to be given `staples()`. */
  readonly onChange: () => void
}

/** A certificate of the configuration, with what is done for it. */
interface Entry extends StapledOptions {
  readonly subject: OcspSubject
  readonly plan: Plan
  /** undefined: nothing can be done. */
  readonly stapled: StapledCertificate | undefined
  readonly labels: { readonly name: string; readonly key_type: string }
}

export class Stapling {
  readonly #parts: StaplingParts
  readonly #cache: ResponseCache | undefined
  readonly #agent = responderAgent()
  /** By fingerprint and settings: an update goes on with those that stay. */
  #entries = new Map<string, Entry>()
  /** Settles what waits for a change. */
  readonly #changed = new EventEmitter()
  #closed = false

  constructor(parts: StaplingParts) {
    const { cache } = parts.options
    this.#parts = parts
    this.#cache = cache === undefined ? undefined : new ResponseCache(cache, parts.log)
  }

  /**
   * From now on these, and no others. Those that were there before with the same settings go on as they are.
   *
   * @throws {NativeError} `ERR_NATIVE_OPENSSL` when OpenSSL cannot read a certificate; nothing changes then.
   */
  update(certificates: readonly StapledOptions[]): void {
    const before = this.#entries
    const after = new Map<string, Entry>()
    for (const options of certificates) {
      const { leaf, subject } = subjectOf(this.#parts.addon, options)
      const key = keyOf(options, leaf)
      after.set(key, after.get(key) ?? before.get(key) ?? this.#begin(options, subject))
    }
    this.#entries = after
    for (const [key, { stapled, labels }] of before) {
      if (after.has(key)) continue
      stapled?.close()
      this.#forget(labels)
    }
    for (const [key, { stapled }] of after) if (!before.has(key)) void stapled?.start()
    this.#tellChange()
  }

  /** For TLS: what is in force, and what must not be without. */
  staples(): NativeStaple[] {
    return [...this.#entries.values()].flatMap(({ subject, stapling, stapled }): NativeStaple[] => {
      const current = stapled?.current
      if (current === undefined && !stapling.required) return []
      const { response, endsMs } = current ?? { response: new Uint8Array(), endsMs: 0 }
      const endsS = Math.floor(endsMs / 1000)
      return [{ fingerprint: subject.fingerprint, response, endsS, required: stapling.required }]
    })
  }

  /** Every certificate that must not be without a response has one, or is known to be revoked. */
  get complete(): boolean {
    return this.#awaited().length === 0
  }

  /**
   * Resolves when `complete`, and after `limitMs` at the latest; then the log says who is without.
   *
   * @param signal ends the wait, and nothing is said.
   * @param shown nobody waits for these: clients get them already.
   */
  async firstAnswers(
    limitMs: number,
    signal: AbortSignal,
    shown: readonly StapledOptions[] = [],
  ): Promise<void> {
    const others = new Set(shown.map((options) => keyOf(options, subjectOf(this.#parts.addon, options).leaf)))
    const deadlineMs = performance.now() + limitMs
    while (this.#awaited(others).length > 0 && !signal.aborted) {
      const leftMs = Math.ceil(deadlineMs - performance.now())
      if (leftMs <= 0) break
      await once(this.#changed, 'change', {
        signal: AbortSignal.any([signal, AbortSignal.timeout(leftMs)]),
      }).catch(
        () => {}, // it is over
      )
    }
    if (signal.aborted) return
    for (const { certificate, stapling, plan } of this.#without(others)) {
      const { log } = this.#parts
      const reason = plan.kind === 'none' ? plan.reason : 'there is no response yet'
      const facts = { certificate: certificate.file, reason }
      if (stapling.required) log.error(facts, 'no OCSP response: clients that ask for one are refused')
      else log.error(facts, 'must-staple certificate without an OCSP response: some clients will refuse it')
    }
  }

  /** For /readyz: certificates whose clients are refused. */
  reasons(): string[] {
    return this.#without().flatMap(({ certificate, stapling }) =>
      stapling.required
        ? [`no OCSP response for ${certificate.file}: clients that ask for one are refused`]
        : [],
    )
  }

  /** For /status: by certificate file. */
  status(): object[] {
    return [...this.#entries.values()].map(({ certificate, stapling, subject, plan, stapled }) => ({
      file: certificate.file,
      names: certificate.names,
      mustStaple: subject.mustStaple,
      required: stapling.required,
      ...(stapled?.status() ?? { stapled: false, reason: plan.kind === 'none' ? plan.reason : undefined }),
    }))
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const { stapled } of this.#entries.values()) stapled?.close()
    this.#changed.emit('change')
    await this.#agent.destroy()
    await this.#cache?.settled()
  }

  #begin(options: StapledOptions, subject: OcspSubject): Entry {
    const { certificate, stapling } = options
    const { log, metrics } = this.#parts
    const labels = { name: certificate.names[0] ?? certificate.file, key_type: certificate.keyType }
    const plan = planFor(stapling, subject)
    if (plan.kind === 'none' && plan.wanted)
      log.warn({ certificate: certificate.file, reason: plan.reason }, 'no OCSP response can be stapled')
    const source = this.#sourceOf(plan, subject)
    const cache = plan.kind === 'fetch' ? this.#cache : undefined
    const onRefresh = (result: string): void => metrics.ocspRefreshes.inc({ ...labels, result })
    const onChange = (): void => this.#tellChange()
    const parts = { certificate, stapling, subject, cache, log, onRefresh, onChange }
    const stapled = source && new StapledCertificate({ ...parts, source })
    return { ...options, subject, plan, stapled, labels }
  }

  #sourceOf(plan: Plan, subject: OcspSubject): Source | undefined {
    switch (plan.kind) {
      case 'none':
        return undefined
      case 'file':
        return new ResponseFile({ file: plan.file, subject })
      case 'fetch': {
        const { timeoutMs } = this.#parts.options
        return new Responder({ ...plan, subject, timeoutMs, dispatcher: this.#agent })
      }
    }
  }

  /** Certificates that must have a response, have none now, and may get one. @param but as for #without(). */
  #awaited(but?: ReadonlySet<string>): Entry[] {
    return this.#without(but).filter(({ stapled }) => stapled !== undefined && !stapled.revoked)
  }

  /** Certificates that must have a response, and have none now. @param but keys of those that do not matter. */
  #without(but: ReadonlySet<string> = new Set()): Entry[] {
    return [...this.#entries].flatMap(([key, entry]) => {
      const { subject, stapling, stapled } = entry
      const must = subject.mustStaple || stapling.required
      return must && stapled?.current === undefined && !but.has(key) ? [entry] : []
    })
  }

  #tellChange(): void {
    const { metrics, onChange } = this.#parts
    // Certificates may share their first name: one that is well must not hide another one that is not.
    const shown = new Map<
      string,
      { labels: Entry['labels']; stapled: boolean; required: boolean; endsMs: number }
    >()
    for (const { subject, plan, stapled, stapling, labels } of this.#entries.values()) {
      if (plan.kind === 'none' && !plan.wanted) continue
      const series = JSON.stringify(labels)
      const other = shown.get(series) ?? { stapled: true, required: false, endsMs: Infinity }
      const current = stapled?.current
      shown.set(series, {
        labels,
        stapled: other.stapled && current !== undefined,
        required: other.required || subject.mustStaple || stapling.required,
        endsMs: Math.min(other.endsMs, current?.endsMs ?? Infinity),
      })
    }
    for (const { labels, stapled, required, endsMs } of shown.values()) {
      metrics.ocspStapled.set(labels, stapled ? 1 : 0)
      metrics.ocspRequired.set(labels, required ? 1 : 0)
      if (endsMs === Infinity) metrics.ocspNextUpdate.remove(labels)
      else metrics.ocspNextUpdate.set(labels, endsMs / 1000)
    }
    onChange()
    this.#changed.emit('change')
  }

  #forget(labels: Entry['labels']): void {
    const { ocspStapled, ocspRequired, ocspNextUpdate } = this.#parts.metrics
    for (const gauge of [ocspStapled, ocspRequired, ocspNextUpdate]) gauge.remove(labels)
  }
}

/** Of an entry: the same certificate with the same settings. */
function keyOf({ stapling }: StapledOptions, leaf: string): string {
  return JSON.stringify([leaf, stapling])
}

/** @returns the leaf's fingerprint, hexadecimal. @throws {NativeError} `ERR_NATIVE_OPENSSL`. */
export function subjectOf(
  addon: Pick<NativeAddon, 'OcspSubject'>,
  { certificate, stapling }: StapledOptions,
): { readonly leaf: string; readonly subject: OcspSubject } {
  const subject = new addon.OcspSubject(certificate.chain[0] ?? new Uint8Array(), stapling.issuer)
  return { leaf: Buffer.from(subject.fingerprint).toString('hex'), subject }
}

/** Connections are not kept: a responder is asked every few days. */
export function responderAgent(): Agent {
  return new Agent({ pipelining: 0, maxResponseSize: MAX_RESPONSE_BYTES, maxHeaderSize: 16_384 })
}

/** Responses from the responder that a certificate names: asked for again at half of their life. */

import type { Dispatcher } from 'undici'
import { BackOff } from '../hsm/back-off.ts'
import type { OcspSubject } from '../native/addon.ts'
import { exchange, methodsFor } from './exchange.ts'
import type { Source } from './source.ts'
import { judge, type Staple, type Trouble, type Verdict } from './verdict.ts'

export interface ResponderOptions {
  readonly subject: OcspSubject
  /** DER OCSPRequest. */
  readonly request: Uint8Array
  readonly url: string
  readonly timeoutMs: number
  readonly dispatcher: Dispatcher
}

export class Responder implements Source {
  readonly #options: ResponderOptions
  readonly #backOff = new BackOff({ firstMs: FIRST_RETRY_MS, capMs: LAST_RETRY_MS })

  constructor(options: ResponderOptions) {
    this.#options = options
  }

  get place(): string {
    return this.#options.url
  }

  async ask(signal: AbortSignal): Promise<Verdict> {
    const { subject, url, request } = this.#options
    let verdict: Verdict = { outcome: 'connection', message: 'it was not asked' }
    for (const method of methodsFor(url, request)) {
      const answer = await exchange({ ...this.#options, responder: url, method, signal })
      verdict = 'response' in answer ? judge(subject, answer.response, Date.now()) : answer
      if (!WORTH_A_POST.has(verdict.outcome)) break
    }
    return verdict
  }

  delayMs(current: Staple | undefined, answered: boolean, nowMs: number): number {
    if (!answered || current === undefined) {
      const delayMs = this.#backOff.next()
      // What is in force ends sooner than the next try would come: one more before that.
      const leftMs = current === undefined ? Number.POSITIVE_INFINITY : (current.endsMs - nowMs) / 2
      return Math.max(Math.min(delayMs, leftMs), FLOOR_MS)
    }
    this.#backOff.reset()
    return refreshDelayMs(current, nowMs, Math.random())
  }
}

/**
 * A little after half of its life, so that there is as much time again to get the next one; at least once a day, to
 * learn of a revocation.
 *
 * @param random 0 … 1: proxies that started together do not ask together.
 */
export function refreshDelayMs({ thisUpdateMs, endsMs }: Staple, nowMs: number, random: number): number {
  const halfMs = thisUpdateMs + (endsMs - thisUpdateMs) * (0.5 + 0.1 * random)
  // Responses are made in advance: this one may be past its half, and the next one not made yet.
  const delayMs = Math.max(halfMs - nowMs, (endsMs - nowMs) / 8, FLOOR_MS)
  return Math.min(delayMs, DAY_MS)
}

/** A responder, or a cache on the way, may not take GET or have something old for it. */
const WORTH_A_POST: ReadonlySet<Trouble | 'good' | 'revoked'> = new Set([
  'http-status',
  'content-type',
  'malformed',
  'malformed-request',
  'expired',
] as const)
const FIRST_RETRY_MS = 5_000
const LAST_RETRY_MS = 10 * 60_000
const FLOOR_MS = 1_000
const DAY_MS = 86_400_000

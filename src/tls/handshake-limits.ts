/**
 * How many full handshakes may ask for a signature: all together, and each client address.
 *
 * A slow HSM is saturated by few clients; what is refused here costs it nothing. Resumed handshakes need no signature
 * and never come here.
 */

import { isIPv6 } from 'node:net'
import type { HandshakeLimitOptions, Rate } from './options.ts'
import { TokenBucket } from './token-bucket.ts'

export type HandshakeLimit = 'total' | 'address'

export interface Admission {
  /** undefined: within both limits. */
  readonly exceeded: HandshakeLimit | undefined
  /** Until its turn; undefined: refused. */
  readonly waitMs: number | undefined
}

export class HandshakeLimits {
  readonly #total: TokenBucket | undefined
  readonly #perAddress: Rate | undefined
  readonly #waits: boolean
  /** By address or network, the least recently new first. */
  readonly #addresses = new Map<string, TokenBucket>()

  constructor(options: HandshakeLimitOptions, nowMs: number) {
    this.#total = options.total && new TokenBucket(options.total, nowMs)
    this.#perAddress = options.perAddress
    this.#waits = options.exceeded === 'wait'
  }

  /**
   * @param peer IP address.
   * @param maxWaitMs a handshake that would have to wait longer is refused; 0 when configured to refuse.
   */
  admit(peer: string, nowMs: number, maxWaitMs: number): Admission {
    const patienceMs = this.#waits ? maxWaitMs : 0
    const own = this.#bucketOf(peer, nowMs)
    const ownMs = own === undefined ? 0 : own.take(nowMs, patienceMs)
    if (ownMs === undefined) return { exceeded: 'address', waitMs: undefined }
    const totalMs = this.#total === undefined ? 0 : this.#total.take(nowMs, patienceMs)
    if (totalMs === undefined) {
      own?.giveBack()
      return { exceeded: 'total', waitMs: undefined }
    }
    if (ownMs === 0 && totalMs === 0) return ADMITTED
    return { exceeded: ownMs > totalMs ? 'address' : 'total', waitMs: Math.max(ownMs, totalMs) }
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#addresses.size
  }

  #bucketOf(peer: string, nowMs: number): TokenBucket | undefined {
    if (this.#perAddress === undefined) return undefined
    const client = clientOf(peer)
    const known = this.#addresses.get(client)
    if (known !== undefined) return known
    this.#forgetSome(nowMs)
    const bucket = new TokenBucket(this.#perAddress, nowMs)
    this.#addresses.set(client, bucket)
    return bucket
  }

  /** Two go for each that comes, so that the idle ones never pile up; past the bound the oldest go, idle or not. */
  #forgetSome(nowMs: number): void {
    let looked = 0
    for (const [client, bucket] of this.#addresses) {
      if (bucket.isFull(nowMs) || this.#addresses.size >= MAX_ADDRESSES) this.#addresses.delete(client)
      looked += 1
      if (looked === 2) return
    }
  }
}

const ADMITTED: Admission = { exceeded: undefined, waitMs: 0 }
/** Some 10 MB. An attacker with more addresses than this is a case for the limit of all together. */
const MAX_ADDRESSES = 65_536

/** A host with IPv6 has a whole /64 to choose from (RFC 6177). */
function clientOf(peer: string): string {
  if (!isIPv6(peer)) return peer
  const [head = '', tail] = peer.split('::')
  const groups = head === '' ? [] : head.split(':')
  const zeros = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length)
  return [...groups, ...Array.from({ length: zeros }, () => '0'), ...(tail ?? '').split(':')]
    .slice(0, 4)
    .join(':')
}

/**
 * The AES key that wraps the fleet's ticket keys, held by one or more HSMs: whoever is up does it, in order.
 *
 * A path of its own beside the signing pool: it is needed twice a rotation, nobody waits for it, and who asks tries again.
 * It shares the hosts with it all the same, so a proxy asks sparingly (wrap-rests.ts).
 */

import { HsmError } from '../errors.ts'
import type { WrapDirection } from './frames.ts'
import type { Member } from './member.ts'
import { WrapRests } from './wrap-rests.ts'

export interface WrappingKeyOptions {
  readonly uri: string
  /** Names of the HSMs that hold it. */
  readonly hsms: readonly string[]
  /** By name; undefined when there is none now. */
  readonly member: (name: string) => Pick<Member, 'isUp' | 'wrap'> | undefined
  /** For one HSM. */
  readonly timeoutMs: number
  /** Where handshakes wait for the same HSMs: one that has hung is left alone for long, and the others for a while. */
  readonly sparing?: boolean
  /** Monotonic, in ms. */
  readonly now?: () => number
}

export class WrappingKey {
  readonly #options: WrappingKeyOptions
  readonly #rests: WrapRests | undefined

  constructor(options: WrappingKeyOptions) {
    this.#options = options
    this.#rests = options.sparing === true ? new WrapRests() : undefined
  }

  get uri(): string {
    return this.#options.uri
  }

  get hsms(): readonly string[] {
    return this.#options.hsms
  }

  /**
   * @param header bound in: unwrapping needs the same one.
   * @param keys sets of 80 bytes (host/key-use-policy.ts); copied before the call returns.
   * @throws {HsmError} the HSM's error, or `ERR_HSM_ALL_FAILED` with every HSM's in `errors`.
   */
  wrap(header: Uint8Array, keys: Uint8Array): Promise<Buffer> {
    return this.#ask('wrap', header, keys)
  }

  /** @returns the keys, in a buffer of the caller's own. @throws {HsmError} as `wrap`; `ERR_HSM_UNWRAP`: altered, or of another key. */
  unwrap(header: Uint8Array, wrapped: Uint8Array): Promise<Buffer> {
    return this.#ask('unwrap', header, wrapped)
  }

  /** The same key in one of its HSMs only. */
  in(hsm: string): WrappingKey {
    return new WrappingKey({ ...this.#options, hsms: [hsm] })
  }

  async #ask(direction: WrapDirection, header: Uint8Array, body: Uint8Array): Promise<Buffer> {
    const { hsms, member: byName, timeoutMs, now = () => performance.now() } = this.#options
    const errors: HsmError[] = []
    for (const name of hsms) {
      const member = byName(name)
      if (member === undefined) continue
      // Who is not up says so at no price.
      const rests = member.isUp ? this.#rests : undefined
      const resting = rests?.reason(member, now())
      if (resting !== undefined) {
        errors.push(resting)
        continue
      }
      try {
        const answer = await member.wrap({ direction, header, body }, timeoutMs)
        rests?.answered(member)
        return answer
      } catch (error) {
        if (!(error instanceof HsmError)) throw error
        errors.push(error)
        if (rests?.failed(member, error, now()) === true) break
      }
    }
    const [first, ...more] = errors
    if (first !== undefined && more.every(({ code }) => code === first.code)) throw first
    const reasons = errors.map(({ message }) => message).join('; ')
    throw new HsmError('ERR_HSM_ALL_FAILED', `no HSM ${direction}s with ${this.uri}: ${reasons}`, { errors })
  }
}

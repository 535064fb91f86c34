/**
 * The host's life: told once what to open, opens it, says so, signs until the pipe ends.
 *
 * It trusts nothing that comes through the pipe: one configuration, then sign requests, all bounded; anything
 * else ends it.
 */

import { FrameChannel, type FrameChannelOptions } from '../frame-channel.ts'
import { FrameError } from '../frame-reader.ts'
import { FRAME, type FrameType } from '../frames.ts'
import { type ConfigureMessage, parseConfigure } from '../messages.ts'
import type { Pkcs11Module } from './pkcs11.ts'
import { Problem, problemMessage } from './problem.ts'
import { Recovery } from './recovery.ts'

export class Host {
  readonly #channel: FrameChannel
  readonly #onEnd: (module: Pkcs11Module | undefined) => void
  #recovery: Recovery | undefined
  #state: 'unconfigured' | 'open' | 'ending' | 'ended' = 'unconfigured'

  /** @param onEnd called once, when there is nothing left to do but to leave. */
  constructor(open: FrameChannelOptions['open'], onEnd: (module: Pkcs11Module | undefined) => void) {
    this.#onEnd = onEnd
    this.#channel = new FrameChannel({
      open,
      accepts: [FRAME.configure, FRAME.sign, FRAME.wrap],
      onFrame: (type, payload) => this.#frame(type, payload),
      // Signatures from the thread pool arrive one by one, several in a turn of the event loop.
      defer: setImmediate,
      onEnd: (error) => (error === undefined ? this.#end() : this.endWith(error)),
    })
  }

  /**
   * Says why, and ends when the front process has heard it. Leaving at once could cost the message: a write of the other
   * side to a closed pipe fails, and takes with it what it has not read yet.
   */
  endWith(error: unknown): void {
    if (this.#state === 'ending' || this.#state === 'ended') return
    this.#state = 'ending'
    this.#recovery?.stop()
    const problem = error instanceof FrameError ? new Problem('ERR_HSM_REFUSED', error.message) : error
    this.#channel.writer.json(FRAME.problem, problemMessage(problem))
    this.#channel.flush()
    setTimeout(() => this.#end(), LAST_WORD_MS)
  }

  #frame(type: FrameType, payload: Buffer): void {
    if (this.#state === 'ending' || this.#state === 'ended') return
    if (type === FRAME.sign) {
      if (this.#recovery === undefined) throw new FrameError('a sign request before the configuration')
      const [request, key, codePoint] = [
        payload.readUInt32BE(0),
        payload.readUInt16BE(4),
        payload.readUInt16BE(6),
      ]
      this.#recovery.signer.sign(request, key, codePoint, payload.subarray(8))
      return
    }
    if (type === FRAME.wrap) {
      if (this.#recovery === undefined) throw new FrameError('a wrap request before the configuration')
      this.#recovery.wrapper.handle(payload)
      return
    }
    // Whoever could configure a second time could have this process load a module of his choice.
    if (this.#state !== 'unconfigured') throw new FrameError('a second configuration')
    this.#state = 'open'
    this.#open(parseConfigure(payload))
  }

  #open(options: ConfigureMessage): void {
    process.title = `sealgate-hsm ${options.hsm}`
    const { writer } = this.#channel
    try {
      this.#recovery = new Recovery(
        options,
        {
          signed: (request, micros, signature) => {
            writer.signed(request, micros, signature)
            this.#channel.written()
          },
          failed: (request, facts) => {
            writer.failed(request, facts)
            this.#channel.written()
          },
          sessions: (open, limit) => {
            writer.sessions(open, limit)
            this.#channel.written()
          },
          wrapped: (request, body) => {
            writer.wrapped(request, body)
            this.#channel.flush()
          },
          notWrapped: (request, facts) => {
            writer.notWrapped(request, facts)
            this.#channel.flush()
          },
          fatal: (error) => this.endWith(error),
        },
        {
          ready: (message) => {
            writer.json(FRAME.ready, message)
            this.#channel.flush()
          },
          recovering: (message) => {
            writer.json(FRAME.recovering, message)
            this.#channel.flush()
          },
          giveUp: (error) => this.endWith(error),
        },
      )
    } catch (error) {
      this.endWith(error)
      return
    }
    this.#recovery.open()
  }

  #end(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#channel.destroy()
    this.#recovery?.stop()
    this.#onEnd(this.#recovery?.module)
  }
}

const LAST_WORD_MS = 500

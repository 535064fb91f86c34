/**
 * A request's body for one attempt at an upstream.
 *
 * undici destroys the stream it was given when the attempt fails; destroying Node's own request object would
 * take the client's connection with it, so each attempt gets a stream of its own that can be thrown away.
 */

import { Readable } from 'node:stream'

/** A request as Node delivers it. */
export interface RequestSource extends Readable {
  /** The client has left. node:http2 ends the stream all the same when the reset says NO_ERROR. */
  readonly aborted: boolean
}

export class RequestBody extends Readable {
  readonly #source: RequestSource
  readonly #onBytes: (count: number) => void
  readonly #onFirstRead: () => void
  #attached = false

  /**
   * @param source paused whenever this stream is full.
   * @param on.firstRead somebody wants the body now.
   */
  constructor(source: RequestSource, on: { bytes(count: number): void; firstRead(): void }) {
    super({ autoDestroy: true })
    this.#source = source
    this.#onBytes = on.bytes
    this.#onFirstRead = on.firstRead
    // undici stops listening when it has given the request up; an error that nobody listens to would stop the thread.
    this.on('error', () => {})
  }

  override _read(): void {
    if (!this.#attached) this.#attach()
    this.#source.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#source.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    this.#source.pause()
    callback(error)
  }

  #attach(): void {
    this.#attached = true
    this.#onFirstRead()
    // A second attempt at a body that turned out to be empty.
    if (this.#source.readableEnded) this.#onEnd()
    else this.#source.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#onBytes(chunk.length)
    if (!this.push(chunk)) this.#source.pause()
  }

  readonly #onEnd = (): void => {
    // What is not whole must not look whole to the server: 'close' follows.
    if (!this.#source.aborted) this.push(null)
  }

  readonly #onClose = (): void => {
    if (!this.#source.readableEnded || this.#source.aborted)
      this.destroy(new Error('the client left while sending the body'))
  }
}

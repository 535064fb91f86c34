/**
 * A request's body for one attempt at an upstream.
 *
 * undici destroys the stream it was given when the attempt fails; destroying Node's own request object would
 * take the client's connection with it, so each attempt gets a stream of its own that can be thrown away.
 */

import { Readable } from 'node:stream'

export class RequestBody extends Readable {
  readonly #source: Readable
  readonly #onBytes: (count: number) => void
  readonly #onFirstRead: () => void
  #attached = false

  /**
   * @param source the request as Node delivers it; paused whenever this stream is full.
   * @param on.firstRead somebody wants the body now.
   */
  constructor(source: Readable, on: { bytes(count: number): void; firstRead(): void }) {
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
    if (this.#source.readableEnded) this.push(null)
    else this.#source.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#onBytes(chunk.length)
    if (!this.push(chunk)) this.#source.pause()
  }

  readonly #onEnd = (): void => {
    this.push(null)
  }

  readonly #onClose = (): void => {
    if (!this.#source.readableEnded) this.destroy(new Error('the client left while sending the body'))
  }
}

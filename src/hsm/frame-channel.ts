/** A socket that carries frames: reads whole ones, and writes together what belongs together. */

import type { Socket } from 'node:net'

import { FrameError, type FrameHandler, FrameReader } from './frame-reader.ts'
import { type FrameType, FrameWriter } from './frames.ts'

export interface FrameChannelOptions {
  /** Connects; what arrives is given to `onChunk`, and may be overwritten when that returns. */
  readonly open: (onChunk: (chunk: Buffer) => void) => Socket
  readonly accepts: readonly FrameType[]
  readonly onFrame: FrameHandler
  /**
   * When frames that are not an answer to a chunk just read leave: the later, the more go together. Those that are
   * leave when the whole chunk has been read.
   */
  readonly defer: (flush: () => void) => void
  /** Called once: the other side ended the stream, it broke, or (with the error) it does not speak the protocol. */
  readonly onEnd: (error: FrameError | undefined) => void
}

export class FrameChannel {
  readonly #socket: Socket
  readonly #writer = new FrameWriter()
  readonly #onEnd: (error: FrameError | undefined) => void
  readonly #defer: (flush: () => void) => void
  #framesPending = 0
  #flushScheduled = false
  #inChunk = false
  #reading = true
  #writing = true

  constructor(options: FrameChannelOptions) {
    this.#onEnd = options.onEnd
    this.#defer = options.defer
    const reader = new FrameReader(options.accepts, options.onFrame)
    this.#socket = options.open((chunk) => {
      if (!this.#reading) return
      this.#inChunk = true
      try {
        reader.push(chunk)
      } catch (error) {
        if (!(error instanceof FrameError)) throw error
        this.#end(error)
      } finally {
        this.#inChunk = false
      }
      if (this.#framesPending > 0) this.flush()
    })
    this.#socket.on('error', () => this.#end(undefined))
    this.#socket.on('close', () => this.#end(undefined))
    this.#socket.on('end', () => this.#end(undefined))
  }

  /** Write one frame, then call `written()`. Nothing leaves any more after `close()` or `destroy()`. */
  get writer(): FrameWriter {
    return this.#writer
  }

  /** Sends what was written: soon, together with what else is written until then; now when there is enough of it. */
  written(): void {
    if (++this.#framesPending >= FLUSH_FRAMES) this.flush()
    else if (!this.#inChunk && !this.#flushScheduled) {
      this.#flushScheduled = true
      this.#defer(() => {
        this.#flushScheduled = false
        this.flush()
      })
    }
  }

  flush(): void {
    this.#framesPending = 0
    const bytes = this.#writer.take()
    if (bytes.length > 0 && this.#writing && this.#socket.writable) this.#socket.write(bytes)
  }

  /** Ends the stream after what was written; the other side sees it end. */
  close(): void {
    this.flush()
    this.#reading = false
    this.#writing = false
    this.#socket.end()
  }

  /** Drops the stream at once. */
  destroy(): void {
    this.#reading = false
    this.#writing = false
    this.#socket.destroy()
  }

  /** Nothing is read any more; after a FrameError there may still be something to say. */
  #end(error: FrameError | undefined): void {
    if (!this.#reading) return
    this.#reading = false
    this.#onEnd(error)
  }
}

// A system call costs about as much as eight frames; more of them would only keep the other side waiting.
const FLUSH_FRAMES = 8

/**
 * One connection of undici's pool, which tells of its end before undici acts on it.
 *
 * undici hears of the end while its parser waits for a handler that is full: a response that only the end delimits then fails
 * an assertion, which would take the thread along, and one that was all there is broken off. By then nothing is left to be
 * read, so that the parser may go on whatever the handler has room for: whoever has `resume` is told in time.
 */

import type { Socket } from 'node:net'
import { type buildConnector, Client, type Dispatcher } from 'undici'

export interface ResponseHandler extends Dispatcher.DispatchHandler {
  /**
   * The server will send nothing any more, and every byte of it was handed over. `resume` has to be called, if there is one.
   * @param reset the connection has not been ended, but broken off: what is not whole then never will be.
   */
  onServerEnd(reset: Error | undefined): void
}

export class Http1Connection extends Client {
  readonly #latest: Latest

  constructor(origin: URL, options: Client.Options & { readonly connect: buildConnector.connector }) {
    const latest: Latest = { handler: undefined }
    super(origin, { ...options, connect: connector(options.connect, latest) })
    this.#latest = latest
  }

  /** A pool that does not pipeline asks for one at a time. */
  override dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.#latest.handler = handler as ResponseHandler
    return super.dispatch(request, handler)
  }
}

interface Latest {
  /** May have been answered long ago. */
  handler: ResponseHandler | undefined
}

function connector(connect: buildConnector.connector, latest: Latest): buildConnector.connector {
  return (options, callback) => {
    connect(options, (...result) => {
      // Not even null when there is none, whatever the type says.
      if (result[1]) watch(result[1], latest)
      callback(...result)
    })
  }
}

/** Before undici has the socket: listeners are called in the order in which they came. */
function watch(socket: Socket, latest: Latest): void {
  socket.on('error', (error: NodeJS.ErrnoException) => {
    // undici takes a reset for the end of a body that only the end of the connection delimits (for the sake of macOS,
    // its client-h1.js says). A client would take the part for the whole; under another name the reset stays an error.
    if (error.code === 'ECONNRESET') error.code = 'ECONNABORTED'
  })
  socket.on('end', () => latest.handler?.onServerEnd(isConnected(socket) ? undefined : resetError()))
}

/**
 * libuv says that a connection has ended when it was reset while there was something left to read. What has been ended by the
 * other side alone still has a peer.
 */
function isConnected(socket: Socket): boolean {
  // Node asks the kernel when it is first wanted: not before.
  return socket.remoteAddress !== undefined
}

function resetError(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
}

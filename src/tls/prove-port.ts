/** Could this be listened on? For listeners that open later: a port in use is to be known at the start. */

import { once } from 'node:events'
import { createServer } from 'node:net'
import { listenError } from '../errors.ts'
import type { ListenAddress } from './options.ts'

/** Listens for the blink of an eye. @throws {TlsError} `ERR_TLS_LISTEN` with the address and the cure. */
export async function provePort({ host, port }: ListenAddress): Promise<void> {
  const server = createServer((socket) => socket.destroy())
  server.listen({ host, port, exclusive: true })
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw listenError({ host, port }, cause)
  }
  server.close()
  await once(server, 'close')
}

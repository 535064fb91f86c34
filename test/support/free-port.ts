import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * A port for a program that cannot say which one it was given: it was free a moment ago.
 *
 * None of those that systems give to connections and to who asks for port 0 (Linux: from 32768 on, others: from 49152):
 * one of these may be another test's before the program has it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000)
    const server = createServer()
    try {
      await once(server.listen(port, '127.0.0.1'), 'listening')
    } catch {
      continue // somebody's
    }
    server.close()
    await once(server, 'close')
    return port
  }
}

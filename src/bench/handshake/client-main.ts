/** Entry of a client process of `bench handshake`. Started by load.ts; ends with it. */

import '../../no-inspector.ts'
import { Client } from './client.ts'
import { type ClientMessage, type ClientOrder, clientOrderSchema } from './messages.ts'

// Ctrl-C reaches the whole group: the command decides, and this process ends when it is told or left alone.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.once('disconnect', () => process.exit(0))
process.once('message', (order) => {
  void prepare(clientOrderSchema.parse(order))
})

async function prepare(order: ClientOrder): Promise<void> {
  let client: Client
  try {
    client = new Client(order)
    await client.prepare()
  } catch (error) {
    say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
    return
  }
  // Once to begin, and once more to stop before the end.
  process.once('message', () => {
    process.once('message', () => client.stop())
    void run(client)
  })
  say({ kind: 'ready' })
}

async function run(client: Client): Promise<void> {
  const timer = setInterval(
    () => say({ kind: 'progress', done: client.done, failed: client.failed }),
    PROGRESS_MS,
  )
  const result = await client.run()
  clearInterval(timer)
  say({ kind: 'result', result })
}

function say(message: ClientMessage): void {
  // When the command has gone there is nobody to tell.
  process.send?.(message, undefined, undefined, () => {})
}

const PROGRESS_MS = 500

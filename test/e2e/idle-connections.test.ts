/** What an open connection keeps while nothing moves on it: no record buffer, also not after it has carried bytes. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'

const CONNECTIONS = 600
/** A whole record: all pages of OpenSSL's buffers, one for each direction, are touched. */
const RECORD = Buffer.alloc(16 * 1024, 'record')
const MOST_KB = 8

test('a record each way leaves no buffer behind with a connection', async () => {
  using site = new Site()
  const echo = await listen(createServer((socket) => socket.pipe(socket)))
  const sealgate = await startSealgate({
    config: site.config([], {
      upstreams: { echo: { servers: [`tcp://127.0.0.1:${port(echo)}`] } },
      listeners: [{ name: 'echo', protocol: 'tcp', address: '127.0.0.1:0', upstream: 'echo' }],
    }),
  })
  const clients: TLSSocket[] = []
  try {
    const ca = readFileSync(site.ca)
    while (clients.length < CONNECTIONS) {
      const client = connect({ port: sealgate.port(), host: '127.0.0.1', servername: 'localhost', ca })
      await once(client, 'secureConnect')
      clients.push(client)
    }
    // Warm: what the first of them makes the process grow by is not theirs.
    for (const client of clients.slice(0, CONNECTIONS / 2)) await exchange(client)
    const before = await atRestKb(sealgate)

    for (const client of clients.slice(CONNECTIONS / 2)) await exchange(client)

    const each = ((await atRestKb(sealgate)) - before) / (CONNECTIONS / 2)
    expect(each).toBeLessThan(MOST_KB)
  } finally {
    for (const client of clients) client.destroy()
    await sealgate.finish()
    echo.close()
  }
})

async function exchange(client: TLSSocket): Promise<void> {
  client.write(RECORD)
  for (let bytes = 0; bytes < RECORD.length; ) {
    const [chunk]: Buffer[] = await once(client, 'data')
    bytes += chunk?.length ?? 0
  }
}

/** Resident memory of the front process, when it is the same for a second. */
async function atRestKb(sealgate: Sealgate): Promise<number> {
  for (let last = 0; ; ) {
    const [, kilobytes] =
      /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${sealgate.pid}/status`, 'utf8')) ?? []
    if (Number(kilobytes) === last) return last
    last = Number(kilobytes)
    await delay(1_000) // between two looks at what should stay the same
  }
}

// @ts-check
/** Row 5: what an idle TLS connection costs in memory. */

import { setTimeout as delay } from 'node:timers/promises'
import { handshakeLoad, holdIdle } from '../measure/load.mjs'
import { pssBytes } from '../measure/process-tree.mjs'
import { hsmPeers, NGINX_ENGINE, NGINX_FILE, nginxFile, SEALGATE } from '../peers/peer.mjs'
import { softHsm } from '../setup/hsm.mjs'
import { alternateFresh, merge, ratio } from './compare.mjs'

const CONNECTIONS = 5000
/** After this, what was freed has been given back and what is lazy has happened. */
const SETTLE_MS = 1000

/**
 * How the connections come to be. A server whose handshakes overlap needs all their buffers at once, and its
 * heap keeps the holes afterwards: nginx's idle connection costs three times as much after a burst.
 */
const SCENARIOS = {
  burst: { atATime: CONNECTIONS, request: false },
  gradual: { atATime: 64, request: false },
  afterRequest: { atATime: 64, request: true },
}

/** @type {import('./compare.mjs').Row} */
export const idleMemory = {
  id: 'idle-memory',
  title: 'Memory per idle TLS connection',
  method: `${CONNECTIONS} connections are held: all opened at once, or 64 at a time, or 64 at a time with one keep-alive request each before they idle. PSS of all processes with them, minus PSS before (after a second of warm-up), divided by ${CONNECTIONS}. A freshly started server for each measurement; none may drop a connection.`,
  metrics: {
    base: 'MB without connections',
    burst: 'KB / connection, opened at once',
    gradual: 'KB / connection, opened gradually',
    afterRequest: 'KB / connection, after a request',
  },

  async run(bench) {
    const starts = { ...hsmPeers(softHsm(bench)), ...nginxFile }
    /** @type {import('./compare.mjs').Results[]} */
    const parts = []
    for (const [metric, scenario] of Object.entries(SCENARIOS)) {
      const part = await alternateFresh(bench, starts, async (peer) => {
        const { base, perConnection } = await measureMemory(bench, peer, scenario)
        return { base: base / 1e6, [metric]: perConnection / 1024 }
      })
      parts.push(part)
    }
    return merge(parts)
  },

  judge: (results) => [
    ...[NGINX_ENGINE, NGINX_FILE].flatMap((other) => [
      {
        measure: `memory per idle connection, opened at once ÷ ${other}`,
        value: ratio(results, 'burst', SEALGATE, other),
        target: { atMost: 0.5 },
      },
      {
        measure: `memory per idle connection, opened gradually ÷ ${other}`,
        value: ratio(results, 'gradual', SEALGATE, other),
        target: { atMost: 0.5 },
      },
    ]),
    {
      measure: `memory per connection after a request ÷ ${NGINX_ENGINE}`,
      value: ratio(results, 'afterRequest', SEALGATE, NGINX_ENGINE),
    },
  ],
}

/**
 * @param {import('../peers/peer.mjs').Bench} bench
 * @param {import('../peers/peer.mjs').Peer} peer
 * @param {{ atATime: number, request: boolean }} scenario
 * @returns {Promise<{ base: number, perConnection: number }>} bytes
 */
async function measureMemory(bench, peer, { atATime, request }) {
  await handshakeLoad(bench, peer, { concurrency: 64, seconds: 1, request })
  await delay(SETTLE_MS)
  const base = pssBytes(peer.pid)
  return holdIdle(bench, peer, { connections: CONNECTIONS, atATime, request }, async () => {
    await delay(SETTLE_MS)
    return { base, perConnection: (pssBytes(peer.pid) - base) / CONNECTIONS }
  })
}

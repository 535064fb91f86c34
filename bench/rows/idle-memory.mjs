// @ts-check
/** Row 5: what an idle TLS connection costs in memory. */

import { setTimeout as delay } from 'node:timers/promises'
import { handshakeLoad, holdIdle } from '../measure/load.mjs'
import { pssBytes } from '../measure/process-tree.mjs'
import { hsmPeers, NGINX_ENGINE, NGINX_FILE, nginxFile, SEALGATE, STUNNEL_ENGINE } from '../peers/peer.mjs'
import { IDLE_CONNECTIONS } from '../settings.mjs'
import { softHsm } from '../setup/hsm.mjs'
import { alternateFresh, besides, figuresText, merge, ratio } from './compare.mjs'

/**
 * How the connections come to be. A server whose handshakes overlap needs all their buffers at once, and its
 * heap keeps the holes afterwards: nginx's idle connection costs three times as much after a burst.
 */
const SCENARIOS = {
  burst: { atATime: Number.POSITIVE_INFINITY, request: false },
  gradual: { atATime: 64, request: false },
  afterRequest: { atATime: 64, request: true },
}

/** @type {import('./compare.mjs').Row} */
export const idleMemory = {
  id: 'idle-memory',
  title: 'Memory per idle TLS connection',
  method: `${IDLE_CONNECTIONS} connections are held: all opened at once, or 64 at a time, or 64 at a time with one keep-alive request each before they idle. PSS of all processes with them, minus PSS before (after a second of warm-up), both after 12 s at rest, divided by ${IDLE_CONNECTIONS}. A freshly started server for each measurement; none may drop a connection.`,
  metrics: {
    base: 'MB without connections',
    burst: 'KB / connection, opened at once',
    gradual: 'KB / connection, opened gradually',
    afterRequest: 'KB / connection, after a request',
  },

  async run(bench) {
    // stunnel has a thread for each connection: 5,000 of them measure the system's limits, not stunnel.
    const { [STUNNEL_ENGINE]: _, ...hsm } = hsmPeers(softHsm(bench))
    const starts = { ...hsm, ...nginxFile }
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

  summarize: (results) => [
    {
      measure: `KB per idle connection, ${IDLE_CONNECTIONS} opened at once / gradually`,
      sealgate: figuresText(results, ['burst', 'gradual'], SEALGATE),
      beside: besides(results, [NGINX_ENGINE], (peer) => figuresText(results, ['burst', 'gradual'], peer)),
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
  await delay(bench.settleMs)
  const base = pssBytes(peer.pid)
  const connections = bench.idleConnections
  return holdIdle(
    bench,
    peer,
    { connections, atATime: Math.min(atATime, connections), request },
    async () => {
      await delay(bench.settleMs)
      return { base, perConnection: (pssBytes(peer.pid) - base) / connections }
    },
  )
}

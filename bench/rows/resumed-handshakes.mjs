// @ts-check
/** What a returning client costs: no signature, so only the TLS endpoints are compared. */

import { errorCount, handshakeLoad, withCpu } from '../measure/load.mjs'
import { startNginx } from '../peers/nginx.mjs'
import { NGINX_FILE, SEALGATE } from '../peers/peer.mjs'
import { startSealgate } from '../peers/sealgate.mjs'
import { softHsm } from '../setup/hsm.mjs'
import { alternate, ERRORS, ratio } from './compare.mjs'

const CONCURRENCY = 64

/** @type {import('./compare.mjs').Row} */
export const resumedHandshakes = {
  id: 'resumed-handshakes',
  title: 'Resumed handshakes',
  method: `${CONCURRENCY} connections, closed loop: connect, handshake with the newest ticket, read the next one (TLS 1.3), close_notify. TLS 1.3 with psk_dhe_ke and X25519, TLS 1.2 with a ticket. The first handshake of each connection is full; a run in which another one is does not count.`,
  metrics: {
    rate13: 'TLS 1.3: handshakes/s',
    cpu13: 'TLS 1.3: CPU µs / handshake',
    rate12: 'TLS 1.2: handshakes/s',
    cpu12: 'TLS 1.2: CPU µs / handshake',
  },

  async run(bench) {
    const hsm = softHsm(bench)
    /** @type {Record<string, import('../peers/peer.mjs').StartPeer>} */
    const peers = {
      [SEALGATE]: (each) => startSealgate(each, { mode: 'http', hsm }),
      [NGINX_FILE]: (each) => startNginx(each, { mode: 'http', versions: 'TLSv1.2 TLSv1.3' }),
    }
    return alternate(bench, peers, async (peer) => {
      /** @param {'1.2' | '1.3'} tls */
      const measure = async (tls) => {
        const load = { concurrency: CONCURRENCY, tls, resume: true }
        await handshakeLoad(bench, peer, { ...load, seconds: 1 })
        const { result, cpu } = await withCpu(peer, () =>
          handshakeLoad(bench, peer, { ...load, seconds: bench.seconds }),
        )
        const errors = errorCount(result.errors)
        return { rate: result.perSecond, cpu: (cpu * 1e6) / result.handshakes, errors }
      }
      const [tls13, tls12] = [await measure('1.3'), await measure('1.2')]
      return {
        rate13: tls13.rate,
        cpu13: tls13.cpu,
        rate12: tls12.rate,
        cpu12: tls12.cpu,
        [ERRORS]: tls13.errors + tls12.errors,
      }
    })
  },

  judge: (results) => [
    {
      measure: 'resumed handshakes/s, TLS 1.3 ÷ nginx',
      value: ratio(results, 'rate13', SEALGATE, NGINX_FILE),
      target: { atLeast: 1 },
    },
    {
      measure: 'CPU per resumed handshake, TLS 1.3 ÷ nginx',
      value: ratio(results, 'cpu13', SEALGATE, NGINX_FILE),
    },
    {
      measure: 'resumed handshakes/s, TLS 1.2 ÷ nginx',
      value: ratio(results, 'rate12', SEALGATE, NGINX_FILE),
      target: { atLeast: 1 },
    },
    {
      measure: 'CPU per resumed handshake, TLS 1.2 ÷ nginx',
      value: ratio(results, 'cpu12', SEALGATE, NGINX_FILE),
    },
  ],
}

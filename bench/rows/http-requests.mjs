// @ts-check
/** Row 3: HTTP/1.1 keep-alive requests through the proxy. */

import { errorCount, withCpu, wrk } from '../measure/load.mjs'
import {
  hsmPeers,
  NGINX_FILE,
  NODE_REQUEST,
  NODE_STREAM,
  nginxFile,
  nodeHttps,
  SEALGATE,
} from '../peers/peer.mjs'
import { softHsm } from '../setup/hsm.mjs'
import { alternate, besides, ERRORS, figuresText, ratio } from './compare.mjs'

const CONNECTIONS = 64

/** @type {import('./compare.mjs').Row} */
export const httpRequests = {
  id: 'http-requests',
  title: 'HTTP/1.1 keep-alive requests',
  method: `wrk, ${CONNECTIONS} connections, a 25-byte answer from the shared upstream. CPU of the proxy only, without wrk and upstream.`,
  metrics: { rate: 'requests/s', cpu: 'CPU µs / request' },

  async run(bench) {
    const { [SEALGATE]: sealgate } = hsmPeers(softHsm(bench))
    if (sealgate === undefined) throw new Error('no Sealgate among the peers')
    return alternate(bench, { [SEALGATE]: sealgate, ...nodeHttps, ...nginxFile }, async (peer) => {
      await wrk(bench, peer, { connections: CONNECTIONS, seconds: bench.warmUp, path: '/' })
      const { result, cpu } = await withCpu(peer, () =>
        wrk(bench, peer, { connections: CONNECTIONS, seconds: bench.seconds, path: '/' }),
      )
      return {
        rate: result.requests / result.seconds,
        cpu: (cpu * 1e6) / result.requests,
        [ERRORS]: errorCount(result.errors),
      }
    })
  },

  judge: (results) => [
    ...[NODE_REQUEST, NODE_STREAM].flatMap((peer) => {
      const name = peer.replace(', key in a file', '')
      return [
        {
          measure: `requests/s ÷ ${name}`,
          value: ratio(results, 'rate', SEALGATE, peer),
          target: { atLeast: 2.5 },
        },
        {
          measure: `CPU per request: ${name} ÷ Sealgate`,
          value: ratio(results, 'cpu', peer, SEALGATE),
          target: { atLeast: 2.5 },
        },
      ]
    }),
    { measure: 'requests/s ÷ nginx', value: ratio(results, 'rate', SEALGATE, NGINX_FILE) },
    { measure: 'CPU per request ÷ nginx', value: ratio(results, 'cpu', SEALGATE, NGINX_FILE) },
  ],

  summarize: (results) => [
    {
      measure: 'http mode: CPU µs per keep-alive request',
      sealgate: figuresText(results, ['cpu'], SEALGATE),
      beside: besides(results, [NGINX_FILE, NODE_REQUEST, NODE_STREAM], (peer) =>
        figuresText(results, ['cpu'], peer),
      ),
    },
  ],
}

// @ts-check
/** Row 4: TLS in, TCP out. */

import { errorCount, withCpu, wrk } from '../measure/load.mjs'
import { HITCH, NGINX_STREAM, relays, SEALGATE, STUNNEL_FILE } from '../peers/peer.mjs'
import { softHsm } from '../setup/hsm.mjs'
import { alternate, besides, ERRORS, figuresText, ratio } from './compare.mjs'

const SMALL = { connections: 64, path: '/' }
const LARGE = { connections: 8, path: '/10MB' }
const RATES = ['rate', 'throughput']

/** @type {import('./compare.mjs').Row} */
export const tcpRelay = {
  id: 'tcp-relay',
  title: 'tcp mode',
  method: `wrk through the relay to the shared upstream: small keep-alive requests (${SMALL.connections} connections), and 10 MB bodies (${LARGE.connections} connections). CPU of the relay only.`,
  metrics: {
    rate: 'requests/s',
    cpu: 'CPU µs / request',
    throughput: 'MB/s, 10 MB bodies',
    cpuPerMb: 'CPU µs / MB',
  },

  async run(bench) {
    return alternate(bench, relays(softHsm(bench)), async (peer) => {
      await wrk(bench, peer, { ...SMALL, seconds: bench.warmUp })
      const small = await withCpu(peer, () => wrk(bench, peer, { ...SMALL, seconds: bench.seconds }))
      const large = await withCpu(peer, () => wrk(bench, peer, { ...LARGE, seconds: bench.seconds }))
      const megabytes = large.result.bytes / 1e6
      return {
        rate: small.result.requests / small.result.seconds,
        cpu: (small.cpu * 1e6) / small.result.requests,
        throughput: megabytes / large.result.seconds,
        cpuPerMb: (large.cpu * 1e6) / megabytes,
        [ERRORS]: errorCount(small.result.errors) + errorCount(large.result.errors),
      }
    })
  },

  judge: (results) =>
    /** @type {const} */ ([
      ['rate', 'small requests/s'],
      ['throughput', 'MB/s of 10 MB bodies'],
    ]).flatMap(([metric, words]) => [
      {
        measure: `${words} ÷ nginx stream`,
        value: ratio(results, metric, SEALGATE, NGINX_STREAM),
        target: { atLeast: 1 },
      },
      { measure: `${words} ÷ hitch`, value: ratio(results, metric, SEALGATE, HITCH), target: { atLeast: 1 } },
      { measure: `${words} ÷ stunnel`, value: ratio(results, metric, SEALGATE, STUNNEL_FILE) },
    ]),

  summarize: (results) => [
    {
      measure: 'tcp mode: small requests/s / MB/s of 10 MB bodies',
      sealgate: figuresText(results, RATES, SEALGATE),
      beside: besides(results, [NGINX_STREAM, HITCH, STUNNEL_FILE], (peer) =>
        figuresText(results, RATES, peer),
      ),
    },
  ],
}

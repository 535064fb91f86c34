// @ts-check
/** Row 2: what becomes of the handshake rate when the HSM is milliseconds away. */

import { errorCount, handshakeLoad } from '../measure/load.mjs'
import { median } from '../measure/statistics.mjs'
import { hsmPeers, NGINX_ENGINE, SEALGATE, STUNNEL_ENGINE } from '../peers/peer.mjs'
import { delayedHsm } from '../setup/hsm.mjs'
import { alternate, besides, ERRORS, figuresText, ratio } from './compare.mjs'

const CONCURRENCY = 256
/** The machine's speed changes from one second to the next: that is not to be taken for what a delay costs. */
const TURN_SECONDS = 1
/** For handshakes that began with another delay. */
const SETTLE_SECONDS = 0.5
const DELAYS_MS = [0, 1, 3]
const RATES = DELAYS_MS.map((delayMs) => `rate${delayMs}`)

/** @type {import('./compare.mjs').Row} */
export const hsmLatency = {
  id: 'hsm-latency',
  title: 'Full handshakes per second against HSM latency',
  method: `${CONCURRENCY} connections, closed loop. The same delayed module for all: 0, 1 or 3 ms are added to each C_Sign, without a lock; they take turns of a second, 0 1 3 3 1 0. Shares are of the same measurement.`,
  metrics: { rate0: 'hs/s at 0 ms', rate1: 'hs/s at 1 ms', rate3: 'hs/s at 3 ms', p99at3: 'p99 ms at 3 ms' },

  async run(bench) {
    const hsm = await delayedHsm(bench, 'latency')
    return alternate(bench, hsmPeers(hsm), async (peer) => {
      /** @type {Record<string, number>} */
      const figures = { [ERRORS]: 0 }
      await handshakeLoad(bench, peer, { concurrency: CONCURRENCY, seconds: bench.warmUp })
      /** @type {number[]} */
      const p99s = []
      const turns = Math.ceil(bench.seconds / TURN_SECONDS)
      for (let turn = 0; turn < turns; turn++) {
        for (const delayMs of turn % 2 === 0 ? DELAYS_MS : DELAYS_MS.toReversed()) {
          await hsm.setSignDelay(delayMs)
          await handshakeLoad(bench, peer, { concurrency: CONCURRENCY, seconds: SETTLE_SECONDS })
          const result = await handshakeLoad(bench, peer, { concurrency: CONCURRENCY, seconds: TURN_SECONDS })
          figures[`rate${delayMs}`] = (figures[`rate${delayMs}`] ?? 0) + result.perSecond / turns
          if (delayMs === 3) p99s.push(result.latencyMs.p99)
          figures[ERRORS] = (figures[ERRORS] ?? 0) + errorCount(result.errors)
        }
      }
      figures['p99at3'] = median(p99s)
      return figures
    })
  },

  judge: (results) => [
    ...[1, 3].map((delayMs) => ({
      measure: `handshakes/s at ${delayMs} ms ÷ own rate at 0 ms`,
      value: share(results, SEALGATE, delayMs),
      target: { atLeast: 0.95 },
    })),
    ...[1, 3].map((delayMs) => ({
      measure: `the same of nginx with engine:pkcs11, ${delayMs} ms`,
      value: share(results, NGINX_ENGINE, delayMs),
    })),
    ...[1, 3].map((delayMs) => ({
      measure: `the same of stunnel with engine:pkcs11, ${delayMs} ms`,
      value: share(results, STUNNEL_ENGINE, delayMs),
    })),
    {
      measure: 'handshakes/s at 3 ms ÷ nginx with engine:pkcs11',
      value: ratio(results, 'rate3', SEALGATE, NGINX_ENGINE),
    },
    {
      measure: 'handshakes/s at 3 ms ÷ stunnel with engine:pkcs11',
      value: ratio(results, 'rate3', SEALGATE, STUNNEL_ENGINE),
    },
  ],

  summarize: (results) => [
    {
      measure: 'full handshakes/s when the HSM takes 0 / 1 / 3 ms',
      sealgate: figuresText(results, RATES, SEALGATE),
      beside: besides(results, [NGINX_ENGINE, STUNNEL_ENGINE], (peer) => figuresText(results, RATES, peer)),
    },
  ],
}

/**
 * Median of the shares that single measurements show.
 *
 * @param {import('./compare.mjs').Results} results
 * @param {string} peer
 * @param {number} delayMs
 */
function share(results, peer, delayMs) {
  const { rate0 = [], [`rate${delayMs}`]: delayed = [] } = results.peers[peer] ?? {}
  return median(delayed.map((rate, i) => rate / (rate0[i] ?? Number.NaN)))
}

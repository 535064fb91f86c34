// @ts-check
/** Row 6: whether open connections notice a flood of handshakes. */

import { errorCount, handshakeLoad, steadyProbe } from '../measure/load.mjs'
import { hsmPeers, NGINX_ENGINE, SEALGATE, STUNNEL_ENGINE } from '../peers/peer.mjs'
import { delayedHsm } from '../setup/hsm.mjs'
import { alternate, besides, ERRORS, figuresText, middle } from './compare.mjs'

const DELAY_MS = 3
/** Within what nginx with the engine can sign at 3 ms: two workers, at most 667 a second. */
const EQUAL_RATE = 400
const CONCURRENCY = 64
const P99S = ['equalP99', 'fullP99']

/** @type {import('./compare.mjs').Row} */
export const steadyUnderFlood = {
  id: 'steady-under-flood',
  title: 'Steady keep-alive requests while handshakes flood in',
  method: `200 requests/s over 20 open connections; latency counts from the time at which a request should have been sent. HSM latency ${DELAY_MS} ms. Three measurements: no flood; full handshakes at ${EQUAL_RATE}/s, the same work for all; as many full handshakes as ${CONCURRENCY} connections can make, which saturates both cores, client included.`,
  metrics: {
    quietP99: 'p99 ms, no flood',
    equalP99: `p99 ms, ${EQUAL_RATE} hs/s`,
    fullP99: 'p99 ms, full flood',
    fullMax: 'max ms, full flood',
    fullRate: 'hs/s of the full flood',
  },

  async run(bench) {
    const hsm = await delayedHsm(bench, 'flood')
    await hsm.setSignDelay(DELAY_MS)
    return alternate(bench, hsmPeers(hsm), async (peer) => {
      const { seconds } = bench
      await flooded(bench, peer, { concurrency: CONCURRENCY, seconds: bench.warmUp })
      const quiet = await steadyProbe(bench, peer, { seconds }, async () => {})
      const equal = await flooded(bench, peer, { concurrency: 256, rate: EQUAL_RATE, seconds })
      const full = await flooded(bench, peer, { concurrency: CONCURRENCY, seconds })
      return {
        quietP99: quiet.probe.latencyMs.p99,
        equalP99: equal.probe.latencyMs.p99,
        fullP99: full.probe.latencyMs.p99,
        fullMax: full.probe.latencyMs.max,
        fullRate: full.disturbance.perSecond,
        [ERRORS]: [quiet.probe, equal.probe, equal.disturbance, full.probe, full.disturbance].reduce(
          (sum, { errors }) => sum + errorCount(errors),
          0,
        ),
      }
    })
  },

  judge: (results) => [
    {
      measure: `p99 of steady requests, ms, ${EQUAL_RATE} handshakes/s`,
      value: middle(results, 'equalP99', SEALGATE),
      target: { atMost: 5 },
    },
    {
      measure: 'p99 of steady requests, ms, full flood',
      value: middle(results, 'fullP99', SEALGATE),
      target: { atMost: 5 },
    },
    {
      measure: `the same of nginx with engine:pkcs11, ${EQUAL_RATE} handshakes/s`,
      value: middle(results, 'equalP99', NGINX_ENGINE),
    },
    {
      measure: 'the same of nginx with engine:pkcs11, full flood',
      value: middle(results, 'fullP99', NGINX_ENGINE),
    },
    {
      measure: `the same of stunnel with engine:pkcs11, ${EQUAL_RATE} handshakes/s`,
      value: middle(results, 'equalP99', STUNNEL_ENGINE),
    },
    {
      measure: 'the same of stunnel with engine:pkcs11, full flood',
      value: middle(results, 'fullP99', STUNNEL_ENGINE),
    },
  ],

  summarize: (results) => [
    {
      measure: `p99 ms of steady requests while ${EQUAL_RATE} handshakes/s arrive / without limit, HSM at ${DELAY_MS} ms`,
      sealgate: figuresText(results, P99S, SEALGATE),
      beside: besides(results, [NGINX_ENGINE, STUNNEL_ENGINE], (peer) => figuresText(results, P99S, peer)),
    },
  ],
}

/**
 * The flood outlasts the probe, so that no request is measured without it.
 *
 * @param {import('../peers/peer.mjs').Bench} bench
 * @param {import('../peers/peer.mjs').Peer} peer
 * @param {import('../measure/load.mjs').HandshakeOptions} flood
 */
async function flooded(bench, peer, flood) {
  return steadyProbe(bench, peer, { seconds: flood.seconds }, () =>
    handshakeLoad(bench, peer, { ...flood, seconds: flood.seconds + 0.5 }),
  )
}

// @ts-check
/** Row 1: what one full handshake costs in CPU time. */

import { errorCount, handshakeLoad, withCpu } from '../measure/load.mjs'
import {
  hsmPeers,
  NGINX_ENGINE,
  NGINX_FILE,
  NODE_STREAM,
  nginxFile,
  nodeStream,
  SEALGATE,
  STUNNEL_ENGINE,
  STUNNEL_FILE,
  stunnelFile,
} from '../peers/peer.mjs'
import { softHsm } from '../setup/hsm.mjs'
import { alternate, besides, ERRORS, figuresText, ratio } from './compare.mjs'

const CONCURRENCY = 64

/** @type {import('./compare.mjs').Row} */
export const handshakeCpu = {
  id: 'handshake-cpu',
  title: 'CPU per full handshake (ECDSA P-256, TLS 1.3, SoftHSM)',
  method: `${CONCURRENCY} connections, closed loop: connect, full handshake, read the session tickets, close_notify. Then the same with one HTTP request per connection. CPU of all of a program's processes, divided by handshakes.`,
  metrics: {
    cpu: 'CPU µs / handshake',
    rate: 'handshakes/s',
    tickets: 'tickets / handshake',
    requestCpu: 'CPU µs / handshake + request',
  },

  async run(bench) {
    const peers = { ...hsmPeers(softHsm(bench)), ...nginxFile, ...stunnelFile, ...nodeStream }
    return alternate(bench, peers, async (peer) => {
      /** @param {boolean} request */
      const measure = async (request) => {
        const load = { concurrency: CONCURRENCY, request }
        // Requests run code that bare handshakes leave cold.
        await handshakeLoad(bench, peer, { ...load, seconds: bench.warmUp })
        return withCpu(peer, () => handshakeLoad(bench, peer, { ...load, seconds: bench.seconds }))
      }
      const bare = await measure(false)
      const request = await measure(true)
      return {
        cpu: (bare.cpu * 1e6) / bare.result.handshakes,
        rate: bare.result.perSecond,
        tickets: bare.result.tickets / bare.result.handshakes,
        requestCpu: (request.cpu * 1e6) / request.result.handshakes,
        [ERRORS]: errorCount(bare.result.errors) + errorCount(request.result.errors),
      }
    })
  },

  judge: (results) => [
    {
      measure: 'CPU per full handshake ÷ nginx with engine:pkcs11',
      value: ratio(results, 'cpu', SEALGATE, NGINX_ENGINE),
      target: { atMost: 1 },
    },
    {
      measure: 'CPU per full handshake ÷ nginx with a file key',
      value: ratio(results, 'cpu', SEALGATE, NGINX_FILE),
    },
    {
      measure: 'CPU per full handshake ÷ stunnel with engine:pkcs11',
      value: ratio(results, 'cpu', SEALGATE, STUNNEL_ENGINE),
    },
    {
      measure: 'CPU per full handshake ÷ node:https with a file key',
      value: ratio(results, 'cpu', SEALGATE, NODE_STREAM),
    },
    {
      measure: 'CPU per full handshake with one request ÷ nginx with engine:pkcs11',
      value: ratio(results, 'requestCpu', SEALGATE, NGINX_ENGINE),
    },
  ],

  summarize: (results) => [
    {
      measure: 'CPU µs per full handshake, P-256, TLS 1.3',
      sealgate: figuresText(results, ['cpu'], SEALGATE),
      beside: besides(
        results,
        [NGINX_ENGINE, NGINX_FILE, STUNNEL_ENGINE, STUNNEL_FILE, NODE_STREAM],
        (peer) => figuresText(results, ['cpu'], peer),
      ),
    },
  ],
}

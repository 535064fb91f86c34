// @ts-check
/** What each feature adds to a full handshake: session tickets, client certificates, OCSP stapling. */

import { errorCount, handshakeLoad, withCpu } from '../measure/load.mjs'
import { startSealgate } from '../peers/sealgate.mjs'
import { createAuthority } from '../setup/authority.mjs'
import { softHsm } from '../setup/hsm.mjs'
import { alternate, ERRORS, middle } from './compare.mjs'

const CONCURRENCY = 64
const NO_TICKETS = 'Sealgate, no tickets'
const ONE_TICKET = 'Sealgate, one ticket (default)'
const TWO_TICKETS = 'Sealgate, two tickets'
const STAPLING = 'Sealgate, one ticket, OCSP stapling'
const CLIENT_CERTIFICATE = 'Sealgate, one ticket, client certificate'

/**
 * @typedef {object} Variant
 * @property {Record<string, unknown>} [listener] configuration
 * @property {Record<string, unknown>} [certificate] configuration
 * @property {Partial<import('../measure/load.mjs').HandshakeOptions>} [load]
 */

/** @type {import('./compare.mjs').Row} */
export const handshakeFeatures = {
  id: 'handshake-features',
  title: 'What tickets, stapling and client certificates add to a full handshake',
  method: `As row 1, with a chain of two certificates for all. Client certificates are ECDSA P-256, verified against one CA; the OCSP response comes from a file.`,
  metrics: { cpu: 'CPU µs / handshake', rate: 'handshakes/s' },

  async run(bench) {
    const { ca, chain, response, identity } = await createAuthority(bench)
    const hsm = softHsm(bench)
    /** @type {Record<string, Variant>} */
    const variants = {
      [NO_TICKETS]: { listener: { tls: { tickets: 0 } }, load: { tickets: false } },
      [ONE_TICKET]: {},
      [TWO_TICKETS]: { listener: { tls: { tickets: 2 } } },
      [STAPLING]: { certificate: { ocsp: { file: response } }, load: { statusRequest: true } },
      [CLIENT_CERTIFICATE]: { listener: { client_certificate: { mode: 'require', ca } }, load: { identity } },
    }
    const peers = Object.fromEntries(
      Object.entries(variants).map(([name, { listener = {}, certificate = {} }]) => [
        name,
        (/** @type {import('../peers/peer.mjs').Bench} */ each) =>
          startSealgate(each, { mode: 'http', hsm, listener, certificate: { chain, ...certificate } }),
      ]),
    )
    return alternate(bench, peers, async (peer, name) => {
      const load = { concurrency: CONCURRENCY, ...variants[name]?.load }
      await handshakeLoad(bench, peer, { ...load, seconds: 1 })
      const { result, cpu } = await withCpu(peer, () =>
        handshakeLoad(bench, peer, { ...load, seconds: bench.seconds }),
      )
      return {
        cpu: (cpu * 1e6) / result.handshakes,
        rate: result.perSecond,
        [ERRORS]: errorCount(result.errors),
      }
    })
  },

  judge: (results) =>
    [
      ['the first ticket', ONE_TICKET, NO_TICKETS],
      ['the second ticket', TWO_TICKETS, ONE_TICKET],
      ['OCSP stapling', STAPLING, ONE_TICKET],
      ['a client certificate', CLIENT_CERTIFICATE, ONE_TICKET],
    ].map(([what = '', having = '', without = '']) => ({
      measure: `CPU µs of ${what} per full handshake`,
      value: middle(results, 'cpu', having) - middle(results, 'cpu', without),
    })),
}

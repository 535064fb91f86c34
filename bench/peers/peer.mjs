// @ts-check
/**
 * The programs that are compared, by the name they have in the tables.
 *
 * @typedef {object} Bench what every peer and row is given
 * @property {import('../setup/workspace.mjs').Workspace} workspace
 * @property {import('../setup/tools.mjs').Tools} tools
 * @property {import('../setup/tools.mjs').LoadTools} load
 * @property {import('../setup/token.mjs').Token} token
 * @property {import('../setup/token.mjs').FileCredentials} file
 * @property {string} wrkConfig OpenSSL configuration for wrk
 * @property {number} upstreamPort
 * @property {number} seconds of one measurement
 * @property {number} warmUp seconds of the same load before each measurement
 * @property {number} idleConnections held by the row about memory
 * @property {number} settleMs before memory is read: what was freed has been given back, what is lazy has happened
 * @property {number} repeat measurements of each figure
 * @property {number} rehearsals measurements before them that do not count, where a peer stays up for all of them
 * @property {ReadonlySet<string>} without peers to leave out
 *
 * @typedef {object} Peer a running program
 * @property {number} port TLS, loopback
 * @property {number} pid the root of its process tree
 * @property {() => Promise<void>} stop idempotent
 *
 * @typedef {(bench: Bench) => Promise<Peer>} StartPeer
 */

import { startHitch } from './hitch.mjs'
import { startNginx } from './nginx.mjs'
import { startNodeHttps } from './node-https.mjs'
import { startSealgate } from './sealgate.mjs'
import { startStunnel } from './stunnel.mjs'

/** @typedef {import('../setup/hsm.mjs').Hsm} Hsm */

export const SEALGATE = 'Sealgate'
export const NGINX_ENGINE = 'nginx, engine:pkcs11'
export const NGINX_FILE = 'nginx, key in a file'
export const NGINX_STREAM = 'nginx stream, key in a file'
export const HITCH = 'hitch, key in a file'
export const STUNNEL_ENGINE = 'stunnel, engine:pkcs11'
export const STUNNEL_FILE = 'stunnel, key in a file'
export const NODE_REQUEST = 'node:https + undici request, key in a file'
export const NODE_STREAM = 'node:https + undici stream, key in a file'

export const PEERS = [
  ...[SEALGATE, NGINX_ENGINE, NGINX_FILE, NGINX_STREAM, HITCH, STUNNEL_ENGINE, STUNNEL_FILE],
  ...[NODE_REQUEST, NODE_STREAM],
]

/**
 * Peers whose key is in the HSM. stunnel relays, the others are HTTP proxies; for a handshake that is the same.
 *
 * @param {Hsm} hsm
 * @returns {Record<string, StartPeer>}
 */
export function hsmPeers(hsm) {
  return {
    [SEALGATE]: (bench) => startSealgate(bench, { mode: 'http', hsm }),
    [NGINX_ENGINE]: (bench) => startNginx(bench, { mode: 'http', hsm }),
    [STUNNEL_ENGINE]: (bench) => startStunnel(bench, { hsm }),
  }
}

/** @type {Record<string, StartPeer>} */
export const nginxFile = { [NGINX_FILE]: (bench) => startNginx(bench, { mode: 'http' }) }

/** @type {Record<string, StartPeer>} */
export const stunnelFile = { [STUNNEL_FILE]: (bench) => startStunnel(bench) }

/** As fast as node:https goes. @type {Record<string, StartPeer>} */
export const nodeStream = { [NODE_STREAM]: (bench) => startNodeHttps(bench, 'stream') }

/** @type {Record<string, StartPeer>} */
export const nodeHttps = {
  [NODE_REQUEST]: (bench) => startNodeHttps(bench, 'request'),
  ...nodeStream,
}

/**
 * TLS to TCP relays.
 *
 * @param {Hsm} hsm Sealgate's
 * @returns {Record<string, StartPeer>}
 */
export function relays(hsm) {
  return {
    [SEALGATE]: (bench) => startSealgate(bench, { mode: 'tcp', hsm }),
    [NGINX_STREAM]: (bench) => startNginx(bench, { mode: 'stream' }),
    [HITCH]: startHitch,
    ...stunnelFile,
  }
}

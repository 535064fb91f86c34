// @ts-check
/** Runs the load generators against a peer and reads their JSON. Every run is bounded in time. Long because there are several. */

import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cpuSeconds } from './process-tree.mjs'

/** @typedef {import('../peers/peer.mjs').Bench} Bench */
/** @typedef {import('../peers/peer.mjs').Peer} Peer */

const wrkScript = fileURLToPath(new URL('../load/wrk-json.lua', import.meta.url))

/** What every handshake here is: the client offers nothing else, so all servers do the same work. */
const HANDSHAKE = { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', group: 'x25519' }
/** Of the load generators, as of wrk: one cannot keep the other core's server busy, and would measure itself. */
const THREADS = '2'
const CLIENT = ['--ciphers', HANDSHAKE.cipher, '--groups', 'X25519', '--sigalgs', 'ECDSA+SHA256']
const HANDSHAKE_TLS12 = { version: 'TLSv1.2', cipher: 'ECDHE-ECDSA-AES128-GCM-SHA256', group: 'x25519' }
// In TLS 1.2 the groups also say which curves of certificates a client takes.
const CLIENTS = {
  1.3: CLIENT,
  1.2: [
    '--tls',
    '1.2',
    '--ciphers',
    HANDSHAKE_TLS12.cipher,
    '--groups',
    'X25519:P-256',
    '--sigalgs',
    'ECDSA+SHA256',
  ],
}

/**
 * @typedef {{ p50: number, p90: number, p99: number, max: number }} Latency milliseconds
 *
 * @typedef {object} HandshakeResult
 * @property {number} started
 * @property {number} handshakes
 * @property {number} resumed
 * @property {number} stapled with an OCSP response
 * @property {number} tickets received, all connections together
 * @property {number} perSecond
 * @property {Latency} latencyMs from connect to Finished
 * @property {Record<string, number>} errors by kind
 * @property {string} firstError
 * @property {string} version
 * @property {string} cipher
 * @property {string} group
 * @property {number} cpuSeconds of the load generator
 *
 * @typedef {object} HandshakeOptions
 * @property {number} concurrency
 * @property {number} seconds
 * @property {number} [rate] handshakes a second; absent: as many as go
 * @property {boolean} [request] one HTTP request after each handshake
 * @property {'1.2' | '1.3'} [tls] default 1.3
 * @property {boolean} [resume] every handshake but the first of each connection slot
 * @property {boolean} [tickets] false: the server sends none, nobody waits for one
 * @property {string} [identity] PEM file of a client certificate and its key
 * @property {boolean} [statusRequest] every handshake must come with an OCSP response
 */

/**
 * Full handshakes, each until its session ticket has been read.
 *
 * @param {Bench} bench
 * @param {Peer} peer
 * @param {HandshakeOptions} options
 * @returns {Promise<HandshakeResult>}
 * @throws an Error when nothing succeeds, something else was negotiated than wanted, or what was to be measured (full
 *   handshakes, resumed ones, stapled ones) was not what happened.
 */
export async function handshakeLoad({ workspace, load }, peer, options) {
  const { concurrency, seconds, rate, tls = '1.3' } = options
  const args = ['--concurrency', String(concurrency), '--threads', THREADS, '--seconds', String(seconds)]
  args.push(...CLIENTS[tls])
  if (options.tickets !== false) args.push('--read-ticket')
  if (rate !== undefined) args.push('--rate', String(rate))
  if (options.request) args.push('--request')
  if (options.resume) args.push('--resume')
  if (options.identity !== undefined) args.push('--identity', options.identity)
  if (options.statusRequest) args.push('--status-request')
  const output = await workspace.run({
    name: 'handshake-load',
    command: load.handshakeLoad,
    args: [...args, `127.0.0.1:${peer.port}`],
    limitMs: (seconds + 30) * 1000,
  })
  /** @type {HandshakeResult} */
  const result = JSON.parse(output)
  if (result.handshakes === 0) throw new Error(`no handshake succeeds: ${result.firstError}`)
  checkHandshakes(result, options)
  return result
}

/**
 * @param {HandshakeResult} result
 * @param {HandshakeOptions} options
 */
function checkHandshakes(result, { concurrency, resume, statusRequest, tls = '1.3' }) {
  const { handshakes, resumed, stapled } = result
  if (!resume && resumed > 0) throw new Error(`${resumed} handshakes were resumed; full ones are measured`)
  if (resume && handshakes - resumed > concurrency) {
    throw new Error(
      `${handshakes - resumed} of ${handshakes} handshakes were full; resumed ones are measured`,
    )
  }
  if (statusRequest && stapled < handshakes)
    throw new Error(`${handshakes - stapled} of ${handshakes} handshakes came without an OCSP response`)
  const handshake = tls === '1.3' ? HANDSHAKE : HANDSHAKE_TLS12
  for (const [what, wanted] of Object.entries(handshake)) {
    const got = result[/** @type {keyof typeof HANDSHAKE} */ (what)]
    // A resumed handshake of TLS 1.2 agrees on no group.
    if (what === 'group' && tls === '1.2' && resume) continue
    if (got !== wanted) throw new Error(`negotiated ${what} ${got} instead of ${wanted}: not comparable`)
  }
}

/**
 * @typedef {object} WrkResult
 * @property {number} requests
 * @property {number} seconds
 * @property {number} bytes
 * @property {Latency} latencyMs closed loop: for orientation only
 * @property {Record<string, number>} errors
 */

/**
 * Keep-alive requests as fast as they go; for longer, when so little time was not enough for a single answer.
 *
 * @param {Bench} bench
 * @param {Peer} peer
 * @param {{ connections: number, seconds: number, path: string }} options
 * @returns {Promise<WrkResult>}
 * @throws an Error when nothing is answered.
 */
export async function wrk(bench, peer, { connections, seconds, path }) {
  for (const times of [1, 4, 16]) {
    const result = await runWrk(bench, peer, { connections, seconds: seconds * times, path })
    if (result.requests > 0) return result
  }
  throw new Error(`no request for ${path} was answered`)
}

/**
 * @param {Bench} bench
 * @param {Peer} peer
 * @param {{ connections: number, seconds: number, path: string }} options
 * @returns {Promise<WrkResult>}
 */
async function runWrk({ workspace, wrkConfig }, peer, { connections, seconds, path }) {
  const shape = [
    '-t',
    THREADS,
    '-c',
    String(connections),
    '-d',
    `${seconds}s`,
    '--timeout',
    '10s',
    '-s',
    wrkScript,
  ]
  const output = await workspace.run({
    name: 'wrk',
    command: 'wrk',
    // By name, so that wrk sends a valid SNI.
    args: [...shape, `https://localhost:${peer.port}${path}`],
    // wrk has no option for cipher suites; OpenSSL's configuration does the same.
    env: { OPENSSL_CONF: wrkConfig },
    limitMs: (seconds + 30) * 1000,
  })
  return JSON.parse(output.trim().split('\n').at(-1) ?? '')
}

/** The OpenSSL configuration that makes wrk offer what the other load generators offer. */
export const WRK_OPENSSL_CONFIG = `openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = ${HANDSHAKE.version}
Ciphersuites = ${HANDSHAKE.cipher}
Groups = X25519
`

/**
 * @typedef {object} ProbeResult
 * @property {number} requests
 * @property {number} completed
 * @property {Latency} latencyMs from the intended time of sending
 * @property {Record<string, number>} errors
 * @property {string} firstError
 */

/**
 * A steady 200 requests a second over 20 connections.
 *
 * @template T
 * @param {Bench} bench
 * @param {Peer} peer
 * @param {{ seconds: number }} options
 * @param {() => Promise<T>} disturb begins once the connections stand
 * @returns {Promise<{ probe: ProbeResult, disturbance: T }>}
 */
export async function steadyProbe({ workspace, load }, peer, { seconds }, disturb) {
  const args = [
    '--rate',
    '200',
    '--connections',
    '20',
    '--seconds',
    String(seconds),
    '--read-ticket',
    ...CLIENT,
  ]
  const tool = startTool(workspace, 'keepalive-probe', load.keepaliveProbe, [
    ...args,
    `127.0.0.1:${peer.port}`,
  ])
  await tool.nextLine()
  const [disturbance, result] = await Promise.all([disturb(), tool.nextLine()])
  await tool.end()
  return { probe: JSON.parse(result), disturbance }
}

/**
 * Holds idle connections while `measure` runs.
 *
 * @template T
 * @param {Bench} bench
 * @param {Peer} peer
 * @param {{ connections: number, atATime: number, request: boolean }} options
 * @param {() => Promise<T>} measure
 * @returns {Promise<T>}
 * @throws an Error when the server refused or dropped even one of them.
 */
export async function holdIdle({ workspace, load }, peer, { connections, atATime, request }, measure) {
  const args = [
    '--connections',
    String(connections),
    '--at-a-time',
    String(atATime),
    '--read-ticket',
    ...CLIENT,
  ]
  if (request) args.push('--request')
  const tool = startTool(workspace, 'idle-hold', load.idleHold, [...args, `127.0.0.1:${peer.port}`])
  const standing = JSON.parse(await tool.nextLine())
  if (standing.holding !== connections) {
    throw new Error(`${standing.holding} of ${connections} connections stand: ${standing.firstError}`)
  }
  const result = await measure()
  tool.closeInput()
  const { lost } = JSON.parse(await tool.nextLine())
  await tool.end()
  if (lost > 0) throw new Error(`the server dropped ${lost} of ${connections} idle connections`)
  return result
}

/**
 * CPU time of a peer's whole process tree while `work` runs, and the little that it does afterwards.
 *
 * @template T
 * @param {Peer} peer
 * @param {() => Promise<T>} work
 * @returns {Promise<{ result: T, cpu: number }>} cpu in seconds
 */
export async function withCpu(peer, work) {
  const before = cpuSeconds(peer.pid)
  const result = await work()
  await delay(100)
  return { result, cpu: cpuSeconds(peer.pid) - before }
}

/**
 * @param {Record<string, number>} errors
 * @returns {number}
 */
export function errorCount(errors) {
  return Object.values(errors).reduce((sum, count) => sum + count, 0)
}

/**
 * A load generator that speaks in lines.
 *
 * @param {import('../setup/workspace.mjs').Workspace} workspace
 * @param {string} name
 * @param {string} command
 * @param {string[]} args
 */
function startTool(workspace, name, command, args) {
  const program = workspace.spawn({ name, command, args, output: 'pipe' })
  /** @type {string[]} */
  const lines = []
  let partial = ''
  let ended = false
  const { stdout } = program.child
  if (stdout === null) throw new Error(`${name} has no output`)
  stdout.setEncoding('utf8').on('data', (text) => {
    const parts = (partial + text).split('\n')
    partial = parts.pop() ?? ''
    lines.push(...parts)
  })
  const exit = once(program.child, 'close').then(() => {
    ended = true
  })
  return {
    /** @returns {Promise<string>} */
    async nextLine() {
      while (lines.length === 0) {
        if (ended) throw new Error(`${name} failed:\n${program.logTail()}`)
        await Promise.race([once(stdout, 'data'), exit])
      }
      return lines.shift() ?? ''
    },
    closeInput: () => program.child.stdin?.end(),
    async end() {
      await exit
      await program.stop()
    },
  }
}

// @ts-check
/** Sealgate and nginx with the same policies and the same kinds of certificates, and what both have behind them. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { statePaths } from '../../dev/paths.mjs'
import { freePort } from '../../dev/ports.mjs'
import { prepare } from '../../dev/prepare.mjs'
import { RunCa } from './certificates.mjs'
import { nginxSites } from './nginx-sites.mjs'
import { POLICIES, SITES } from './policies.mjs'
import { sealgateSite } from './sealgate-site.mjs'

const START_LIMIT_MS = 120_000

/**
 * @typedef {import('./policies.mjs').PolicyName} PolicyName
 * @typedef {import('./policies.mjs').SiteName} SiteName
 * @typedef {ReadonlyMap<SiteName, ReadonlyMap<PolicyName, number>>} Ports
 *
 * @typedef {object} Servers
 * @property {Ports} sealgate
 * @property {Ports} nginx
 * @property {Readonly<Record<import('./certificates.mjs').KeyType, { key: string, certificate: string }>>} clients
 *   what both accept from clients, as files
 * @property {Readonly<Record<'sealgate' | 'nginx', string>>} clientSchemes what each may be signed with, as scripts
 *   write it
 * @property {() => Promise<void>} stop
 */

/** @returns {Promise<Servers>} */
export async function startServers() {
  const directory = mkdtempSync(join(tmpdir(), 'sealgate-tlsfuzzer-'))
  const ca = new RunCa(join(directory, 'ca'))
  const [sealgate, nginx] = [await freePorts(), await freePorts()]
  const http = await listening(
    createHttpServer((request, response) => {
      request.resume()
      // Scripts expect one record of application data: an answer without a body is one.
      response.setHeader('content-length', '0').end()
    }),
  )
  const echo = await listening(
    createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket)),
  )
  const paths = statePaths(join(directory, 'state'))
  await prepare(paths)
  const commands = [nginxSites({ directory, ca, ports: nginx, echoPort: echo.port })]
  for (const [site, ports] of sealgate) {
    const upstreams = { http: http.port, echo: echo.port }
    commands.push(sealgateSite({ site, paths, ca, ports, adminPort: await freePort(0), upstreams }))
  }
  const children = commands.map(([command = '', ...args]) => spawn(command, args, { stdio: 'ignore' }))
  const stop = async () => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const closed = once(child, 'close')
      child.kill('SIGTERM')
      await closed
    }
    http.server.close()
    echo.server.close()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    for (const port of [...sealgate.values(), ...nginx.values()].flatMap((ports) => [...ports.values()])) {
      await untilListening(port, children)
    }
  } catch (error) {
    await stop()
    throw error
  }
  return { sealgate, nginx, clients: ca.clients(), clientSchemes: CLIENT_SCHEMES, stop }
}

const RSA_PSS_PSS = 'rsa_pss_pss_sha256 rsa_pss_pss_sha384 rsa_pss_pss_sha512'
const RSA_PSS_RSAE = 'rsa_pss_rsae_sha256 rsa_pss_rsae_sha384 rsa_pss_rsae_sha512'
const FIRST = 'ecdsa_secp256r1_sha256 ecdsa_secp384r1_sha384 ecdsa_secp521r1_sha512 ed25519 ed448'
const LAST = 'rsa_pkcs1_sha256 rsa_pkcs1_sha384 rsa_pkcs1_sha512 sha224+ecdsa sha224+rsa'
/** As src/native/client_authentication.cc has them, and as OpenSSL's default is. */
const CLIENT_SCHEMES = {
  sealgate: [FIRST, RSA_PSS_RSAE, RSA_PSS_PSS, LAST].join(' '),
  nginx: [FIRST, RSA_PSS_PSS, RSA_PSS_RSAE, LAST].join(' '),
}

/** Every policy at the usual site; the others differ in their keys only. */
async function freePorts() {
  /** @type {Map<SiteName, Map<PolicyName, number>>} */
  const ports = new Map()
  for (const site of /** @type {SiteName[]} */ (Object.keys(SITES))) {
    /** @type {PolicyName[]} */
    const policies =
      site === 'usual' ? /** @type {PolicyName[]} */ (Object.keys(POLICIES)) : ['default', 'wide']
    const ofSite = new Map()
    for (const policy of policies) ofSite.set(policy, await freePort(0))
    ports.set(site, ofSite)
  }
  return ports
}

/** @param {import('node:net').Server} server */
async function listening(server) {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  return { server, port: typeof address === 'object' && address !== null ? address.port : 0 }
}

/**
 * @param {number} port
 * @param {readonly import('node:child_process').ChildProcess[]} children
 */
async function untilListening(port, children) {
  const limit = Date.now() + START_LIMIT_MS
  while (!(await isListening(port))) {
    if (Date.now() > limit || children.some(({ exitCode }) => exitCode !== null)) {
      throw new Error('a server does not start: try `npm start`, and whether nginx is installed')
    }
    await delay(50)
  }
}

/** @param {number} port */
function isListening(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

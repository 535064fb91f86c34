// @ts-check
/** Sealgate as `npm start` configures it, and nginx with the same policy: both with an RSA and an ECDSA certificate. */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { statePaths } from '../../dev/paths.mjs'
import { freePort } from '../../dev/ports.mjs'
import { prepare } from '../../dev/prepare.mjs'
import { writeProxyConfig } from '../../dev/proxy-config.mjs'

const START_LIMIT_MS = 120_000
/** As src/config/tls-policy.ts has them for `intermediate`. */
const CIPHERS =
  'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305'
/** Many scripts for TLS 1.2 know no AEAD suite: they are run against a listener that has CBC as well. */
const WITH_CBC = `${CIPHERS}:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA`

/** @typedef {{ default: number, withCbc: number }} Ports by policy */

/** @returns {Promise<{ sealgate: Ports, nginx: Ports, stop: () => Promise<void> }>} */
export async function startServers() {
  const directory = mkdtempSync(join(tmpdir(), 'sealgate-tlsfuzzer-'))
  const ports = async () => ({ default: await freePort(0), withCbc: await freePort(0) })
  const [sealgate, nginx] = [await ports(), await ports()]
  // Scripts expect one record of application data: an answer without a body is one.
  const upstream = createServer((request, response) => {
    request.resume()
    response.setHeader('content-length', '0').end()
  })
  await once(upstream.listen(0, '127.0.0.1'), 'listening')
  const address = upstream.address()
  const origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  const paths = statePaths(join(directory, 'state'))
  await prepare(paths)
  writeProxyConfig(paths, { port: sealgate.default, adminPort: await freePort(0), upstream: origin })
  addListenerWithCbc(paths.config, sealgate.withCbc)
  certifyWithRsa(directory, join(paths.certs, 'localhost.rsa.pem'))
  const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
  const children = [
    spawn(process.execPath, [main, 'run', '--config', paths.config], { stdio: 'ignore' }),
    spawn('nginx', ['-c', nginxConfig(directory, nginx), '-p', directory, '-e', 'error.log'], {
      stdio: 'ignore',
    }),
  ]
  const stop = async () => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const closed = once(child, 'close')
      child.kill('SIGTERM')
      await closed
    }
    upstream.close()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    await untilListening([...Object.values(sealgate), ...Object.values(nginx)], children)
  } catch (error) {
    await stop()
    throw error
  }
  return { sealgate, nginx, stop }
}

/**
 * @param {string} file
 * @param {number} port
 */
function addListenerWithCbc(file, port) {
  const suites = WITH_CBC.replaceAll(':', ', ')
  const listener = `  - { address: "127.0.0.1:${port}", protocol: http, upstream: app, tls: { tls12_suites: [${suites}] } }`
  writeFileSync(file, readFileSync(file, 'utf8').replace('listeners:\n', `listeners:\n${listener}\n`))
}

/**
 * Scripts for RSA say that they verify RSA signatures only, also in certificates (signature_algorithms_cert), while the
 * development CA signs with ECDSA: the same key gets a certificate from an RSA CA.
 *
 * @param {string} directory
 * @param {string} file
 */
function certifyWithRsa(directory, file) {
  /** @param {...string} args */
  const openssl = (...args) =>
    execFileSync('openssl', args, { cwd: directory, stdio: ['ignore', 'pipe', 'ignore'] })
  openssl(
    'req',
    '-x509',
    '-noenc',
    '-newkey',
    'rsa:2048',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=RSA CA',
  )
  writeFileSync(join(directory, 'rsa.pub'), openssl('x509', '-in', file, '-noout', '-pubkey'))
  writeFileSync(join(directory, 'rsa.ext'), 'subjectAltName=DNS:localhost')
  const issued = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-extfile', 'rsa.ext', '-out', file]
  openssl('x509', '-new', '-force_pubkey', 'rsa.pub', '-subj', '/CN=localhost', '-days', '7', ...issued)
}

/**
 * @param {string} directory
 * @param {Ports} ports
 */
function nginxConfig(directory, ports) {
  const keys = { rsa: ['rsa:2048'], ecdsa: ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] }
  for (const [name, newKey] of Object.entries(keys)) {
    const out = ['-keyout', `${name}.key`, '-out', `${name}.pem`]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
    execFileSync('openssl', ['req', '-x509', '-noenc', '-newkey', ...newKey, ...out, ...subject], {
      cwd: directory,
      stdio: 'ignore',
    })
  }
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const file = join(directory, 'nginx.conf')
  writeFileSync(
    file,
    `daemon off;
worker_processes 1;
pid ${directory}/nginx.pid;
events {}
http {
  access_log off;
${temporary.map((name) => `  ${name}_temp_path ${directory}/${name};`).join('\n')}
  ssl_certificate ${directory}/rsa.pem;
  ssl_certificate_key ${directory}/rsa.key;
  ssl_certificate ${directory}/ecdsa.pem;
  ssl_certificate_key ${directory}/ecdsa.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ecdh_curve X25519:prime256v1:secp384r1;
  server { listen 127.0.0.1:${ports.default} ssl http2; ssl_ciphers ${CIPHERS}; return 200 ""; }
  server { listen 127.0.0.1:${ports.withCbc} ssl http2; ssl_ciphers ${WITH_CBC}; return 200 ""; }
}
`,
  )
  return file
}

/**
 * @param {readonly number[]} ports
 * @param {readonly import('node:child_process').ChildProcess[]} children
 */
async function untilListening(ports, children) {
  const limit = Date.now() + START_LIMIT_MS
  for (const port of ports) {
    while (!(await isListening(port))) {
      if (Date.now() > limit || children.some(({ exitCode }) => exitCode !== null)) {
        throw new Error('a server does not start: try `npm start`, and whether nginx is installed')
      }
      await delay(50)
    }
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

// @ts-check
/**
 * nginx as Debian ships it, in a folder of its own: two workers, SO_REUSEPORT listeners, no access log, session
 * tickets on (OpenSSL sends two in TLS 1.3), upstream connections kept alive.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { freePort, isListening } from '../setup/workspace.mjs'

/** @typedef {import('./peer.mjs').Bench} Bench */
/** @typedef {import('./peer.mjs').Peer} Peer */
/** @typedef {import('../setup/hsm.mjs').Hsm} Hsm */

/**
 * @typedef {object} NginxOptions
 * @property {'http' | 'stream'} mode TLS to HTTP proxy, or TLS to TCP relay
 * @property {Hsm} [hsm] where the key is; absent: in a file
 * @property {string} [versions] default TLSv1.3
 */

/**
 * @param {Bench} bench
 * @param {NginxOptions} options
 * @returns {Promise<Peer>}
 */
export async function startNginx(bench, { mode, hsm, versions = 'TLSv1.3' }) {
  const port = await freePort()
  const { certificate, key, env } = hsm === undefined ? fileKey(bench) : await engineKey(bench, hsm)
  const tls = `
    ssl_certificate ${certificate};
    ssl_certificate_key ${key};
    ssl_protocols ${versions};`
  const body =
    mode === 'http' ? httpBlock(port, bench.upstreamPort, tls) : streamBlock(port, bench.upstreamPort, tls)
  const load = mode === 'stream' ? `load_module ${bench.tools.nginxStream};` : ''
  const program = await serveNginx(bench, { load, body, workers: 2, port, env })
  return { port, pid: program.pid, stop: program.stop }
}

/**
 * The upstream that all peers share: one worker, a small answer on every path but `/10MB`.
 *
 * @param {Pick<Bench, 'workspace'>} bench
 * @returns {Promise<Peer>}
 */
export async function startUpstream(bench) {
  const port = await freePort()
  const { dir } = bench.workspace
  await writeFile(`${dir}/10MB`, Buffer.alloc(10_000_000, 'sealgate'))
  const body = `http {
  access_log off;
  server_tokens off;
  default_type text/plain;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  ${temporaryPaths(dir)}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /10MB { root ${dir}; }
    location / { return 200 "Hello from the upstream.\\n"; }
  }
}`
  const program = await serveNginx(bench, { load: '', body, workers: 1, port, env: {} })
  return { port, pid: program.pid, stop: program.stop }
}

/** @param {Bench} bench */
function fileKey({ file }) {
  return { certificate: file.certificate, key: file.key, env: {} }
}

/**
 * @param {Bench} bench
 * @param {Hsm} hsm
 */
async function engineKey({ token }, hsm) {
  const config = await token.writeEngineConfig(`nginx-${hsm.name}`, hsm.module)
  const key = `"engine:pkcs11:pkcs11:token=${token.label};object=${token.keyLabel};type=private"`
  return { certificate: token.certificate, key, env: { ...hsm.env, OPENSSL_CONF: config } }
}

/**
 * @param {number} port
 * @param {number} upstreamPort
 * @param {string} tls
 */
function httpBlock(port, upstreamPort, tls) {
  return `http {
  access_log off;
  ${temporaryPaths('.')}
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_header_timeout 600s;
  upstream backend {
    server 127.0.0.1:${upstreamPort};
    keepalive 256;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port} ssl reuseport backlog=4096;
    server_name localhost;${tls}
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host $http_host;
    }
  }
}`
}

/**
 * @param {number} port
 * @param {number} upstreamPort
 * @param {string} tls
 */
function streamBlock(port, upstreamPort, tls) {
  return `stream {
  server {
    listen 127.0.0.1:${port} ssl reuseport backlog=4096;${tls}
    tcp_nodelay on;
    proxy_pass 127.0.0.1:${upstreamPort};
    proxy_timeout 600s;
  }
}`
}

/** @param {string} dir */
function temporaryPaths(dir) {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${dir}/temp-${kind};`)
    .join('\n  ')
}

/**
 * @param {Pick<Bench, 'workspace'>} bench
 * @param {{ load: string, body: string, workers: number, port: number, env: Record<string, string> }} options
 */
async function serveNginx({ workspace }, { load, body, workers, port, env }) {
  const dir = `${workspace.dir}/nginx-${port}`
  await mkdir(dir)
  // Started by root, workers would become nobody, who may not read the token.
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const config = `daemon off;
${user}
pid ${dir}/pid;
error_log stderr error;
worker_processes ${workers};
worker_rlimit_nofile 20000;
${load}
${Object.keys(env)
  .map((name) => `env ${name};`)
  .join('\n')}
events { worker_connections 16384; }
${body}
`
  await writeFile(`${dir}/nginx.conf`, config)
  const args = ['-p', dir, '-c', `${dir}/nginx.conf`, '-e', 'stderr']
  return workspace.serve({ name: 'nginx', command: 'nginx', args, env }, () => isListening(port))
}

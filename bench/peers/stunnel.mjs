// @ts-check
/** stunnel, the TLS relay with a thread for each connection: key in a file, or in the HSM through OpenSSL's engine. */

import { readFile, writeFile } from 'node:fs/promises'
import { freePort, isListening } from '../setup/workspace.mjs'

/** @typedef {import('../setup/hsm.mjs').Hsm} Hsm */

/**
 * @param {import('./peer.mjs').Bench} bench
 * @param {{ hsm?: Hsm }} options hsm: where the key is; absent: in a file
 * @returns {Promise<import('./peer.mjs').Peer>}
 */
export async function startStunnel(bench, { hsm } = {}) {
  const { workspace, upstreamPort } = bench
  const port = await freePort()
  const { globals, credentials, env } = hsm === undefined ? fileKey(bench) : await engineKey(bench, hsm)
  const file = `${workspace.dir}/stunnel-${port}.conf`
  await writeFile(
    file,
    `foreground = yes
pid =
syslog = no
debug = err
${globals}
[relay]
accept = 127.0.0.1:${port}
connect = 127.0.0.1:${upstreamPort}
sslVersionMin = TLSv1.3
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
TIMEOUTclose = 0
TIMEOUTidle = 600
${credentials}
`,
    { mode: 0o600 },
  )
  const program = await workspace.serve({ name: 'stunnel', command: 'stunnel', args: [file], env }, () =>
    isListening(port),
  )
  return { port, pid: program.pid, stop: program.stop }
}

/** @param {import('./peer.mjs').Bench} bench */
function fileKey({ file }) {
  return { globals: '', credentials: `cert = ${file.certificate}\nkey = ${file.key}`, env: {} }
}

/**
 * @param {import('./peer.mjs').Bench} bench
 * @param {Hsm} hsm
 */
async function engineKey({ token, tools }, hsm) {
  const pin = (await readFile(token.pinFile, 'utf8')).trim()
  const globals = `engine = dynamic
engineCtrl = SO_PATH:${tools.pkcs11Engine}
engineCtrl = ID:pkcs11
engineCtrl = LIST_ADD:1
engineCtrl = LOAD
engineCtrl = MODULE_PATH:${hsm.module}
engineCtrl = PIN:${pin}
engineCtrl = INIT`
  const key = `pkcs11:token=${token.label};object=${token.keyLabel};type=private`
  return {
    globals,
    credentials: `engineId = pkcs11\ncert = ${token.certificate}\nkey = ${key}`,
    env: hsm.env,
  }
}

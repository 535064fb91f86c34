// @ts-check
/** Starts node-https-proxy.mjs: what one would write without Sealgate, on two cores. */

import { fileURLToPath } from 'node:url'
import { freePort, isListening } from '../setup/workspace.mjs'

const script = fileURLToPath(new URL('node-https-proxy.mjs', import.meta.url))

/**
 * @param {import('./peer.mjs').Bench} bench
 * @param {'request' | 'stream'} how undici is asked
 * @returns {Promise<import('./peer.mjs').Peer>}
 */
export async function startNodeHttps({ workspace, file, upstreamPort }, how) {
  const port = await freePort()
  const args = [script, String(port), `http://127.0.0.1:${upstreamPort}`, file.certificate, file.key, how]
  const program = await workspace.serve({ name: 'node-https', command: process.execPath, args }, () =>
    isListening(port),
  )
  return { port, pid: program.pid, stop: program.stop }
}

// @ts-check
/** hitch, the TLS relay: two workers, key in a file, bytes to the shared upstream. */

import { writeFile } from 'node:fs/promises'
import { freePort, isListening } from '../setup/workspace.mjs'

/**
 * @param {import('./peer.mjs').Bench} bench
 * @returns {Promise<import('./peer.mjs').Peer>}
 */
export async function startHitch({ workspace, file, upstreamPort }) {
  const port = await freePort()
  const config = `${workspace.dir}/hitch-${port}.conf`
  // It refuses to run workers as root; the key is read before.
  const user = process.getuid?.() === 0 ? 'user = "nobody"\n' : ''
  await writeFile(
    config,
    `frontend = { host = "127.0.0.1" port = "${port}" }
backend = "[127.0.0.1]:${upstreamPort}"
pem-file = "${file.pem}"
tls-protos = TLSv1.3
workers = 2
backlog = 4096
daemon = off
log-level = 1
${user}`,
  )
  const program = await workspace.serve(
    { name: 'hitch', command: 'hitch', args: [`--config=${config}`] },
    () => isListening(port),
  )
  return { port, pid: program.pid, stop: program.stop }
}

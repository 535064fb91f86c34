// @ts-check
/** Sealgate from this checkout: two HSM members on one token, defaults but for what the comments below say. */

import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../setup/workspace.mjs'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/**
 * @param {import('./peer.mjs').Bench} bench
 * @param {{
 *   mode: 'http' | 'tcp',
 *   hsm: import('../setup/hsm.mjs').Hsm,
 *   listener?: Record<string, unknown>,
 *   certificate?: Record<string, unknown>,
 * }} options keys of the configuration that replace ours
 * @returns {Promise<import('./peer.mjs').Peer>}
 */
export async function startSealgate({ workspace, token, upstreamPort }, { mode, hsm, ...more }) {
  requireBuild()
  const port = await freePort()
  const adminPort = await freePort()
  const member = { module: hsm.module, token: token.label, pin: { file: token.pinFile }, env: hsm.env }
  const listener = { address: `127.0.0.1:${port}`, protocol: mode, upstream: 'shared', ...more.listener }
  const config = {
    hsms: { 'hsm-a': member, 'hsm-b': member },
    certificates: [
      {
        chain: token.certificate,
        key: { uri: `pkcs11:object=${token.keyLabel};type=private`, hsms: ['hsm-a', 'hsm-b'] },
        ...more.certificate,
      },
    ],
    // Idle connections are held longer than any measurement, as in every peer.
    listeners: [mode === 'http' ? { ...listener, keep_alive: '10m' } : listener],
    upstreams: { shared: { servers: [`${mode}://127.0.0.1:${upstreamPort}`] } },
    // 5,000 handshakes at once (idle-memory) are more than the default queue takes, by design.
    signing: { queue: 8192, timeout: '10s' },
    admin: { address: `127.0.0.1:${adminPort}` },
    log: { level: 'warn', access: false },
    drain_timeout: '1s',
  }
  // JSON is YAML.
  const file = `${workspace.dir}/sealgate-${port}.yaml`
  await writeFile(file, JSON.stringify(config, null, 2))
  const args = [main, 'run', '--config', file]
  const program = await workspace.serve({ name: 'sealgate', command: process.execPath, args }, () =>
    isReady(adminPort),
  )
  return { port, pid: program.pid, stop: program.stop }
}

/** @throws an Error with the command that builds it. */
export function requireBuild() {
  if (!existsSync(main)) throw new Error('Sealgate is not built; run: npm run build')
}

/** @param {number} adminPort */
async function isReady(adminPort) {
  try {
    const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`)
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}

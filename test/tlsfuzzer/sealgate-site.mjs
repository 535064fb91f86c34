// @ts-check
/** Sealgate as one of the servers: its keys are born in a development token, its listeners are those of the policies. */

import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TOKEN_LABEL } from '../../dev/token.mjs'
import { POLICIES, SITES } from './policies.mjs'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/**
 * @typedef {import('./policies.mjs').Policy} Policy
 * @typedef {import('./policies.mjs').PolicyName} PolicyName
 * @typedef {import('./policies.mjs').SiteName} SiteName
 *
 * @typedef {object} SiteOptions
 * @property {SiteName} site
 * @property {import('../../dev/paths.mjs').StatePaths} paths of the development token, which is there
 * @property {import('./certificates.mjs').RunCa} ca for the servers, and for their clients
 * @property {ReadonlyMap<PolicyName, number>} ports of the listeners
 * @property {number} adminPort
 * @property {{ http: number, echo: number }} upstreams ports
 */

/**
 * @param {SiteOptions} options
 * @returns {readonly string[]} the command that runs it
 */
export function sealgateSite({ site, paths, ca, ports, adminPort, upstreams }) {
  const directory = join(paths.state, site)
  mkdirSync(directory)
  const token = { module: paths.module, token: TOKEN_LABEL, pin: { file: paths.pin } }
  const hsm = { ...token, sessions: 8, env: { SOFTHSM2_CONF: paths.conf } }
  const certificates = SITES[site].map((type) => {
    const chain = join(directory, `${type}.pem`)
    const { spki, uri } = generateKey(paths, `${site}-${type}`, type)
    ca.issueFor(spki, chain)
    return { chain, key: { uri, hsms: ['hsm'] } }
  })
  const config = join(directory, 'sealgate.yaml')
  const content = {
    hsms: { hsm },
    certificates,
    listeners: [...ports].map(([name, port]) => listener(port, POLICIES[name], ca.file)),
    upstreams: {
      http: { servers: [`http://127.0.0.1:${upstreams.http}`] },
      echo: { servers: [`tcp://127.0.0.1:${upstreams.echo}`] },
    },
    admin: { address: `127.0.0.1:${adminPort}` },
  }
  writeFileSync(config, JSON.stringify(content, null, 2)) // which is YAML as well
  return [process.execPath, MAIN, 'run', '--config', config]
}

/**
 * @param {number} port
 * @param {Policy} policy
 * @param {string} ca
 */
function listener(port, { versions, tls12Suites, tls13Suites, groups, clientCertificate, echo }, ca) {
  const tls = {
    ...(versions && { versions }),
    ...(tls12Suites && { tls12_suites: tls12Suites }),
    ...(tls13Suites && { tls13_suites: tls13Suites }),
    ...(groups && { groups }),
    tickets: 2, // as nginx sends
  }
  return {
    address: `127.0.0.1:${port}`,
    ...(echo ? { protocol: 'tcp', upstream: 'echo' } : { protocol: 'http', upstream: 'http' }),
    tls,
    ...(clientCertificate && { client_certificate: { mode: 'request', ca } }),
  }
}

/**
 * @param {import('../../dev/paths.mjs').StatePaths} paths
 * @param {string} label
 * @param {string} type
 * @returns {{ spki: Buffer, uri: string }}
 */
function generateKey(paths, label, type) {
  const target = ['--module', paths.module, '--token', TOKEN_LABEL, '--pin-file', paths.pin]
  const env = ['--env', `SOFTHSM2_CONF=${paths.conf}`]
  const args = ['keys', 'generate', ...target, ...env, '--label', label, '--type', type, '--json']
  const told = execFileSync(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const { key, uri } = JSON.parse(told.toString())
  return { spki: Buffer.from(key.spki, 'base64'), uri }
}

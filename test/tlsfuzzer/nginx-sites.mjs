// @ts-check
/** nginx as Sealgate's peer: all sites in one process, the same policies, keys in files. */

import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { INTERMEDIATE, POLICIES, SITES } from './policies.mjs'

/** Where the distributions put it: tcp listeners are its `stream` module. */
const STREAM_MODULES = [
  '/usr/lib/nginx/modules/ngx_stream_module.so',
  '/usr/lib64/nginx/modules/ngx_stream_module.so',
]

/**
 * @typedef {import('./policies.mjs').Policy} Policy
 * @typedef {import('./policies.mjs').PolicyName} PolicyName
 * @typedef {import('./policies.mjs').SiteName} SiteName
 *
 * @typedef {object} SitesOptions
 * @property {string} directory
 * @property {import('./certificates.mjs').RunCa} ca
 * @property {ReadonlyMap<SiteName, ReadonlyMap<PolicyName, number>>} ports
 * @property {number} echoPort of the upstream
 */

/**
 * @param {SitesOptions} options
 * @returns {readonly string[]} the command that runs it
 */
export function nginxSites({ directory, ca, ports, echoPort }) {
  const servers = [...ports].flatMap(([site, policies]) => {
    const certificates = SITES[site].flatMap((type) => {
      const { key, certificate } = ca.issue(type, 'server', site)
      return [`ssl_certificate ${certificate};`, `ssl_certificate_key ${key};`]
    })
    return [...policies].map(([name, port]) => ({
      echo: POLICIES[name].echo === true,
      lines: [`listen 127.0.0.1:${port} ssl`, ...certificates, ...settings(POLICIES[name], ca.file)],
    }))
  })
  const module = STREAM_MODULES.find((file) => existsSync(file))
  if (module === undefined)
    throw new Error("nginx's stream module is missing: apt install libnginx-mod-stream")
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  /** @param {(typeof servers)[number]} server */
  const http = ({ lines: [listen = '', ...lines] }) =>
    `server { ${listen} http2; ${lines.join(' ')} return 200 ""; }`
  /** @param {(typeof servers)[number]} server */
  const stream = ({ lines: [listen = '', ...lines] }) =>
    `server { ${listen}; ${lines.join(' ')} proxy_pass 127.0.0.1:${echoPort}; }`
  const file = join(directory, 'nginx.conf')
  writeFileSync(
    file,
    `load_module ${module};
daemon off;
worker_processes 1;
pid ${directory}/nginx.pid;
events {}
http {
  access_log off;
${temporary.map((name) => `  ${name}_temp_path ${directory}/${name};`).join('\n')}
${servers
  .filter(({ echo }) => !echo)
  .map((server) => `  ${http(server)}`)
  .join('\n')}
}
stream {
${servers
  .filter(({ echo }) => echo)
  .map((server) => `  ${stream(server)}`)
  .join('\n')}
}
`,
  )
  return ['nginx', '-c', file, '-p', directory, '-e', 'error.log']
}

/**
 * @param {Policy} policy
 * @param {string} ca
 */
function settings(policy, ca) {
  const { versions = ['TLSv1.2', 'TLSv1.3'] } = policy
  const { tls12Suites, tls13Suites, groups } = { ...INTERMEDIATE, ...policy }
  return [
    `ssl_protocols ${versions.join(' ')};`,
    `ssl_ciphers ${tls12Suites.join(':')};`,
    `ssl_conf_command Ciphersuites ${tls13Suites.join(':')};`,
    `ssl_ecdh_curve ${groups.join(':')};`,
    'ssl_prefer_server_ciphers on;',
    ...(policy.clientCertificate ? ['ssl_verify_client optional;', `ssl_client_certificate ${ca};`] : []),
  ]
}

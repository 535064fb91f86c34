// @ts-check
/** The configuration that `npm start` runs the proxy with. */

import { writeFileSync } from 'node:fs'
import { TOKEN_LABEL } from './token.mjs'

/**
 * Writes it into the folder of the token; relative paths in it are relative to that folder.
 *
 * @param {import('./paths.mjs').StatePaths} paths
 * @param {{ port: number, adminPort: number, upstream: string }} options `upstream`: origin
 */
export function writeProxyConfig(paths, { port, adminPort, upstream }) {
  writeFileSync(
    paths.config,
    `# Written by npm start, anew each time: change a copy.
hsms: # one host process each; here both are on the one development token
  hsm-a: &development
    module: ./libsofthsm2.so
    token: ${TOKEN_LABEL}
    pin: { file: ./hsm.pin }
    sessions: 16
    env: { SOFTHSM2_CONF: ./softhsm2.conf }
  hsm-b: *development

certificates:
  - chain: ./certs/localhost.ecdsa.pem
    key: { uri: "pkcs11:object=localhost-ec;type=private", hsms: [hsm-a, hsm-b] }
  - chain: ./certs/localhost.rsa.pem
    key: { uri: "pkcs11:object=localhost-rsa;type=private", hsms: [hsm-a, hsm-b] }

listeners:
  - { address: "127.0.0.1:${port}", protocol: http, upstream: app }

upstreams:
  app: { servers: ["${upstream}"] }

admin: { address: "127.0.0.1:${adminPort}" }
`,
  )
}

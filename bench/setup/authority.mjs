// @ts-check
/** A CA for one run: a certificate for the token's key, what a responder says of it, and a client's certificate. */

import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * @typedef {object} Authority paths
 * @property {string} ca PEM
 * @property {string} chain PEM: certificate for the token's key, and the CA
 * @property {string} response DER: an OCSP response for it
 * @property {string} identity PEM: a client's certificate and key
 */

/**
 * @param {Pick<import('../peers/peer.mjs').Bench, 'workspace' | 'token'>} bench
 * @returns {Promise<Authority>}
 */
export async function createAuthority({ workspace, token }) {
  const cwd = workspace.dir
  /** @param {string} line words without spaces in them */
  const openssl = (line) => run('openssl', line.split(' '), { cwd })
  const newKey = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc'
  await openssl(`req -x509 ${newKey} -keyout ca.key -out ca.pem -days 30 -subj /CN=bench-CA`)
  const issuer = '-CA ca.pem -CAkey ca.key -days 30'

  const { stdout: spki } = await openssl(`x509 -in ${token.certificate} -noout -pubkey`)
  await writeFile(`${cwd}/token.pub`, spki)
  await writeFile(`${cwd}/token.ext`, 'subjectAltName=DNS:localhost\n')
  const leaf = '-set_serial 16 -subj /CN=localhost -extfile token.ext'
  await openssl(`x509 -new -force_pubkey token.pub ${leaf} ${issuer} -out issued.pem`)
  await writeFile(
    `${cwd}/chain.pem`,
    (await readFile(`${cwd}/issued.pem`, 'utf8')) + (await readFile(`${cwd}/ca.pem`, 'utf8')),
  )

  // The index of openssl's own CA: valid, until 2049, number 10 (hexadecimal).
  await writeFile(`${cwd}/index.txt`, 'V\t491231235959Z\t\t10\tunknown\t/CN=localhost\n')
  const request = '-issuer ca.pem -cert issued.pem -no_nonce'
  await openssl(
    `ocsp -index index.txt -rsigner ca.pem -rkey ca.key -CA ca.pem ${request} -ndays 7 -respout response.der`,
  )

  await writeFile(`${cwd}/client.ext`, 'extendedKeyUsage=clientAuth\n')
  await openssl(`req -new ${newKey} -keyout client.key -out client.csr -subj /CN=client`)
  await openssl(`x509 -req -in client.csr -extfile client.ext -set_serial 17 ${issuer} -out client.pem`)
  const identity =
    (await readFile(`${cwd}/client.pem`, 'utf8')) + (await readFile(`${cwd}/client.key`, 'utf8'))
  await writeFile(`${cwd}/identity.pem`, identity, { mode: 0o600 })
  return {
    ca: `${cwd}/ca.pem`,
    chain: `${cwd}/chain.pem`,
    response: `${cwd}/response.der`,
    identity: `${cwd}/identity.pem`,
  }
}

// @ts-check
/** Certificates of the servers and of the scripts as clients, made anew for each run; nothing here is kept. */

import { execFileSync } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** How openssl makes a key of each type. */
const NEW_KEY = {
  'rsa-2048': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'rsa-3072': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:3072'],
  'rsa-4096': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096'],
  'rsa-pss': ['-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'p-256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'p-384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'p-521': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
  ed25519: ['-algorithm', 'ED25519'],
  ed448: ['-algorithm', 'ED448'],
}

/** @typedef {keyof typeof NEW_KEY} KeyType */

/** One CA for everything: RSA, since scripts for RSA say that they verify RSA only, also in certificates. */
export class RunCa {
  #directory

  /** @param {string} directory of its own; the caller removes it */
  constructor(directory) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    this.#directory = directory
    this.#openssl('genpkey', ...NEW_KEY['rsa-2048'], '-out', 'ca.key')
    const self = ['-x509', '-key', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=tlsfuzzer run', '-days', '7']
    this.#openssl('req', ...self)
    writeFileSync(join(directory, 'server.ext'), 'subjectAltName=DNS:localhost')
    writeFileSync(join(directory, 'client.ext'), 'extendedKeyUsage=clientAuth')
  }

  get file() {
    return join(this.#directory, 'ca.pem')
  }

  /**
   * @param {KeyType} type
   * @param {'server' | 'client'} role
   * @param {string} [of] whose it is, where there are several
   * @returns {{ key: string, certificate: string }} files
   */
  issue(type, role, of = '') {
    const name = `${role}${of}-${type}`
    this.#openssl('genpkey', ...NEW_KEY[type], '-out', `${name}.key`)
    this.#openssl('pkey', '-in', `${name}.key`, '-pubout', '-out', `${name}.pub`)
    this.#sign(`${name}.pub`, role, `${name}.pem`)
    return { key: join(this.#directory, `${name}.key`), certificate: join(this.#directory, `${name}.pem`) }
  }

  /** One of each type, for clients. */
  clients() {
    const types = /** @type {KeyType[]} */ (Object.keys(NEW_KEY))
    const issued = types.map((type) => /** @type {const} */ ([type, this.issue(type, 'client')]))
    return /** @type {Record<KeyType, ReturnType<RunCa['issue']>>} */ (Object.fromEntries(issued))
  }

  /**
   * A certificate for a server whose private key is elsewhere.
   *
   * @param {Buffer} spki DER SubjectPublicKeyInfo
   * @param {string} file
   */
  issueFor(spki, file) {
    const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    writeFileSync(`${file}.pub`, publicKey.export({ type: 'spki', format: 'pem' }))
    this.#sign(`${file}.pub`, 'server', file)
  }

  /**
   * @param {string} publicKey
   * @param {'server' | 'client'} role
   * @param {string} out
   */
  #sign(publicKey, role, out) {
    const request = ['-new', '-force_pubkey', publicKey, '-subj', '/CN=localhost', '-days', '7']
    const issuer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-extfile', `${role}.ext`]
    this.#openssl('x509', ...request, ...issuer, '-out', out)
  }

  /** @param {...string} args */
  #openssl(...args) {
    return execFileSync('openssl', args, { cwd: this.#directory, stdio: ['ignore', 'pipe', 'ignore'] })
  }
}

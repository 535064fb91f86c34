/**
 * What a proxy needs before it can start: a token, keys born in it, certificates for them, a folder for its files.
 *
 * The CA's key lives in this process's memory; openssl gets it through a pipe. No private key is ever a file.
 */

import { spawnSync } from 'node:child_process'
import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SoftHsm, type SoftToken, type TokenKeyType } from './softhsm.ts'

/** An entry of `certificates` in a configuration. */
export interface SiteCertificate {
  readonly chain: string
  readonly key: { readonly uri: string; readonly hsms: readonly string[] }
}

export interface CertificateRequest {
  readonly names?: readonly string[]
  readonly type?: TokenKeyType
  /** Negative: it has expired. */
  readonly days?: number
  readonly hsms?: readonly string[]
}

export class Site implements Disposable {
  readonly softHsm = new SoftHsm()
  readonly directory = this.softHsm.directory
  readonly token: SoftToken
  /** PEM file of the CA that issues every certificate of this site. */
  readonly ca = join(this.directory, 'ca.pem')
  readonly #caKey: string
  #keys = 0

  /** @param options.pin of the token; letters and digits. */
  constructor(options: { pin?: string } = {}) {
    this.token = this.softHsm.addToken('web', options)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#caKey = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const self = ['req', '-x509', '-new', '-key', '/dev/stdin', '-subj', '/CN=test CA', '-out', this.ca]
    openssl([...self, '-addext', 'keyUsage=critical,keyCertSign'], this.#caKey)
  }

  /** Generates a key in the token and issues a certificate for it. */
  certificate({ type = 'EC:prime256v1', ...request }: CertificateRequest = {}): SiteCertificate {
    this.#keys += 1
    const label = `key-${this.#keys}`
    const id = this.#keys.toString(16).padStart(2, '0')
    const spki = this.token.generateKey({ label, id, type })
    return this.certificateFor({ label, spki, ...request })
  }

  /** @param key.label of a private key; @param key.spki what the certificate is for, rightly or not. */
  certificateFor(key: Omit<CertificateRequest, 'type'> & { label: string; spki: Buffer }): SiteCertificate {
    const { label, spki, names = ['localhost', '*.example.test'], days = 30, hsms = ['hsm-a'] } = key
    const chain = join(this.directory, `${label}-${randomBytes(4).toString('hex')}.pem`)
    const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    writeFileSync(`${chain}.pub`, publicKey.export({ type: 'spki', format: 'pem' }))
    writeFileSync(`${chain}.ext`, `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\n`)
    const leaf = ['-force_pubkey', `${chain}.pub`, '-subj', `/CN=${names[0]}`, '-days', String(days)]
    const issuer = ['-CA', this.ca, '-CAkey', '/dev/stdin', '-extfile', `${chain}.ext`]
    openssl(['x509', '-new', ...leaf, ...issuer, '-out', chain], this.#caKey)
    return { chain, key: { uri: `pkcs11:object=${label};type=private`, hsms } }
  }

  /** An entry of `hsms` in a configuration. */
  member(): Record<string, unknown> {
    return {
      module: this.softHsm.module,
      token: this.token.label,
      pin: { file: this.token.pinFile },
      sessions: 8,
      env: this.softHsm.env,
    }
  }

  /** A whole configuration: one HSM, one certificate, one http listener on a free port; `overrides` replace keys. */
  config(upstreamPorts: readonly number[], overrides: object = {}): object {
    return {
      hsms: { 'hsm-a': this.member() },
      // A key more in the token only where somebody wants it.
      ...(!('certificates' in overrides) && { certificates: [this.certificate()] }),
      listeners: [{ name: 'web', address: '127.0.0.1:0', protocol: 'http', upstream: 'app' }],
      upstreams: { app: { servers: httpServers(upstreamPorts), keep_alive: '1s' } },
      admin: { address: '127.0.0.1:0' },
      drain_timeout: '5s',
      ...overrides,
    }
  }

  [Symbol.dispose](): void {
    this.softHsm.remove()
  }
}

export function httpServers(ports: readonly number[]): string[] {
  return ports.map((port) => `http://127.0.0.1:${port}`)
}

function openssl(args: readonly string[], key: string): void {
  // Through `cat`: what Node gives a child as standard input is a socket, and /dev/stdin cannot be opened then.
  const { status, stderr } = spawnSync('sh', ['-c', 'cat | openssl "$@"', 'sh', ...args], { input: key })
  if (status === COMMAND_NOT_FOUND) throw new Error('openssl is needed: apt-get install openssl')
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
}

/** Of a shell, POSIX XCU 2.8.2. */
const COMMAND_NOT_FOUND = 127

/** A CA for client certificates, made with the openssl command on the spot; its keys go with the folder. */

import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface ClientCertificate {
  /** PEM files. */
  readonly certificate: string
  readonly key: string
  /** Hexadecimal, upper case. */
  readonly serial: string
  readonly der: Buffer
}

export interface ClientCertificateOptions {
  /** openssl's syntax: `DNS:a,URI:b`. */
  readonly names?: string
  /** Negative: it has expired. */
  readonly days?: number
  readonly usage?: string
  /** openssl's words for `-newkey`. */
  readonly key?: readonly string[]
}

export class ClientCa {
  /** PEM file. */
  readonly certificate: string
  readonly #prefix: string
  readonly #key: string
  #issued = 0

  /** @param issuer of an intermediate; absent: self-signed. */
  constructor(directory: string, name: string, issuer?: ClientCa) {
    this.#prefix = join(directory, name)
    this.certificate = `${this.#prefix}.pem`
    this.#key = `${this.#prefix}.key`
    if (issuer === undefined) {
      const self = ['-x509', '-days', '30', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']
      openssl(
        'req',
        ...self,
        ...newKey(EC),
        '-subj',
        `/CN=${name}`,
        '-keyout',
        this.#key,
        '-out',
        this.certificate,
      )
    } else issuer.#sign(this.#prefix, `/CN=${name}`, 30, 'basicConstraints=critical,CA:TRUE\n', EC)
  }

  issue(name: string, options: ClientCertificateOptions = {}): ClientCertificate {
    this.#issued += 1
    const { names, days = 30, usage = 'clientAuth', key = EC } = options
    const prefix = `${this.#prefix}-${this.#issued}`
    const extensions = `extendedKeyUsage=${usage}\n${names === undefined ? '' : `subjectAltName=${names}\n`}`
    this.#sign(prefix, `/O=Example/CN=${name}`, days, extensions, key)
    const certificate = `${prefix}.pem`
    const serial = openssl('x509', '-in', certificate, '-noout', '-serial').trim().replace('serial=', '')
    const pem = readFileSync(certificate, 'utf8').replaceAll(/-----[^-]+-----|\s/g, '')
    return { certificate, key: `${prefix}.key`, serial, der: Buffer.from(pem, 'base64') }
  }

  /** PEM text of a revocation list. @param options.days until its next update; negative: it has expired. */
  revoke(revoked: readonly ClientCertificate[], options: { readonly days?: number } = {}): string {
    const index = `${this.#prefix}.index`
    const config = `${this.#prefix}.cnf`
    writeFileSync(
      index,
      revoked.map(({ serial }) => `R\t491231235959Z\t200101000000Z\t${serial}\tunknown\t/CN=x\n`).join(''),
    )
    writeFileSync(config, `[ca]\ndefault_ca=d\n[d]\ndatabase=${index}\ndefault_md=sha256\n`)
    const { days = 30 } = options
    const times = [
      '-crl_lastupdate',
      utcTime(Date.now() - 2 * DAY_MS),
      '-crl_nextupdate',
      utcTime(Date.now() + days * DAY_MS),
    ]
    return openssl(
      'ca',
      '-gencrl',
      '-config',
      config,
      '-cert',
      this.certificate,
      '-keyfile',
      this.#key,
      ...times,
    )
  }

  #sign(prefix: string, subject: string, days: number, extensions: string, key: readonly string[]): void {
    writeFileSync(`${prefix}.ext`, extensions)
    openssl(
      'req',
      '-new',
      ...newKey(key),
      '-subj',
      subject,
      '-keyout',
      `${prefix}.key`,
      '-out',
      `${prefix}.csr`,
    )
    const ca = ['-CA', this.certificate, '-CAkey', this.#key, '-CAcreateserial', '-extfile', `${prefix}.ext`]
    openssl('x509', '-req', '-in', `${prefix}.csr`, ...ca, '-days', String(days), '-out', `${prefix}.pem`)
  }
}

const EC = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
const DAY_MS = 86_400_000

function newKey(words: readonly string[]): string[] {
  return ['-newkey', ...words, '-noenc']
}

function utcTime(ms: number): string {
  return `${new Date(ms).toISOString().replaceAll(/[-:T]/g, '').slice(2, 14)}Z`
}

function openssl(...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync('openssl', args, { encoding: 'utf8' })
  if (error !== undefined) throw new Error('openssl is needed: apt-get install openssl', { cause: error })
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
  return stdout
}

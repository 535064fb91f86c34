/**
 * A CA that answers for its certificates: made with the openssl command on the spot, with OpenSSL's own responder as a
 * process; answers that no responder would give are written here. Its keys go with the folder.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CraftedAnswer, craftAnswer } from './ocsp-answer.ts'

export interface IssueOptions {
  /** DER SubjectPublicKeyInfo of a key that is elsewhere; absent: a key of its own, which nobody gets. */
  readonly spki?: Buffer
  readonly names?: readonly string[]
  /** authorityInfoAccess. */
  readonly responder?: string
  readonly mustStaple?: boolean
  readonly usage?: string
}

export interface Issued {
  /** PEM file of the leaf alone. */
  readonly leaf: string
  /** PEM file: the leaf, then its issuer. */
  readonly chain: string
  /** Where there is one. */
  readonly key: string
  /** Hexadecimal, upper case. */
  readonly serial: string
}

export class OcspCa {
  /** PEM file. */
  readonly certificate: string
  readonly #directory: string
  readonly #key: string
  readonly #issued: Issued[] = []
  readonly #revoked = new Map<string, string>()
  readonly #signer: Issued

  constructor(directory: string, name = 'ocsp-ca') {
    this.#directory = join(directory, name)
    mkdirSync(this.#directory)
    this.certificate = join(this.#directory, 'ca.pem')
    this.#key = join(this.#directory, 'ca.key')
    const files = ['-keyout', this.#key, '-out', this.certificate]
    const self = ['-x509', '-days', '90', '-subj', `/CN=${name}`, '-addext', 'keyUsage=critical,keyCertSign']
    openssl('req', ...self, ...NEW_KEY, ...files)
    this.#signer = this.issue({ names: ['ocsp-signer'], usage: 'OCSPSigning' })
  }

  issue(options: IssueOptions = {}): Issued {
    const { spki, names = ['localhost'], responder, mustStaple = false, usage = 'serverAuth' } = options
    const prefix = join(this.#directory, `leaf-${this.#issued.length + 1}`)
    const [leaf, key] = [`${prefix}.pem`, `${prefix}.key`]
    writeFileSync(
      `${prefix}.ext`,
      [
        `subjectAltName=${names.map((name) => `DNS:${name}`).join()}`,
        `extendedKeyUsage=${usage}`,
        ...(responder === undefined ? [] : [`authorityInfoAccess=OCSP;URI:${responder}`]),
        ...(mustStaple ? ['tlsfeature=status_request'] : []),
      ].join('\n'),
    )
    const subject = ['-subj', `/CN=${names[0]}`]
    if (spki === undefined) {
      openssl('req', '-new', ...NEW_KEY, ...subject, '-keyout', key, '-out', `${prefix}.csr`)
    } else {
      const pem = createPublicKey({ key: spki, format: 'der', type: 'spki' }).export({
        type: 'spki',
        format: 'pem',
      })
      writeFileSync(`${prefix}.pub`, pem)
    }
    const what =
      spki === undefined
        ? ['-req', '-in', `${prefix}.csr`]
        : ['-new', '-force_pubkey', `${prefix}.pub`, ...subject]
    const by = ['-CA', this.certificate, '-CAkey', this.#key, '-extfile', `${prefix}.ext`, '-days', '90']
    openssl('x509', ...what, ...by, '-out', leaf)
    const chain = `${prefix}.chain.pem`
    writeFileSync(chain, readFileSync(leaf, 'utf8') + readFileSync(this.certificate, 'utf8'))
    const serial = openssl('x509', '-in', leaf, '-noout', '-serial').trim().replace('serial=', '')
    const issued = { leaf, chain, key, serial }
    this.#issued.push(issued)
    return issued
  }

  /** A responder that is started afterwards knows it. */
  revoke({ serial }: Issued, reason = 'keyCompromise'): void {
    this.#revoked.set(serial, reason)
  }

  /**
   * `openssl ocsp`, signing with a key that the CA has given the task.
   *
   * @param port a free one. @returns when it accepts connections.
   */
  async startResponder(port: number, minutes = 60): Promise<OpensslResponder> {
    const index = join(this.#directory, 'index.txt')
    writeFileSync(index, this.#issued.map((issued) => this.#indexLine(issued)).join(''))
    const signer = ['-rsigner', this.#signer.leaf, '-rkey', this.#signer.key, '-CA', this.certificate]
    const args = ['ocsp', '-index', index, ...signer, '-port', String(port), '-nmin', String(minutes)]
    // Without -ignore_err one bad request is its last.
    const child = spawn('openssl', [...args, '-ignore_err'], { stdio: ['ignore', 'pipe', 'pipe'] })
    const responder = new OpensslResponder(child)
    await responder.accepting()
    return responder
  }

  /** DER; what is not said is as a responder with nothing to hide has it. */
  answer(leaf: Issued, answer: CraftedAnswer = {}): Buffer {
    return craftAnswer({ leaf: leaf.leaf, issuer: this.certificate, issuerKey: this.#key }, answer)
  }

  #indexLine({ serial }: Issued): string {
    const reason = this.#revoked.get(serial)
    const state = reason === undefined ? 'V\t491231235959Z\t' : `R\t491231235959Z\t250101000000Z,${reason}`
    return `${state}\t${serial}\tunknown\t/CN=${serial}\n`
  }
}

export class OpensslResponder implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown>
  #output = ''

  constructor(child: ChildProcess) {
    this.#child = child
    this.#closed = once(child, 'close')
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text
      })
  }

  async accepting(): Promise<void> {
    const deadlineMs = Date.now() + START_MS
    while (!/waiting for OCSP client/.test(this.#output)) {
      if (this.#child.exitCode !== null || Date.now() > deadlineMs)
        throw new Error(`openssl ocsp does not listen: ${this.#output}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** It is gone, and its port is free. */
  async stop(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc']
const START_MS = 10_000

function openssl(...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync('openssl', args, { encoding: 'utf8' })
  if (error !== undefined) throw new Error('openssl is needed: apt-get install openssl', { cause: error })
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
  return stdout
}

/**
 * A key database of NSS: another PKCS#11 implementation, by other people, for keys that SoftHSM holds too.
 *
 * It is a token like any other, except that it must be told with C_Initialize where its files are, and that it chooses
 * CKA_ID by itself (SHA-1 of the public key).
 */

import { spawnSync } from 'node:child_process'
import { createHash, createPublicKey, randomInt } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { HsmOptions, KeySelector } from '../../src/hsm/options.ts'
import { moduleFile } from './module-file.ts'

const INSTALL = 'NSS and its tools: apt-get install libnss3-tools'

export class NssDatabase implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'sealgate-nss-'))
  readonly module = moduleFile(['libsoftokn3.so', 'nss/libsoftokn3.so', 'libsoftokn3.dylib'], INSTALL)
  /** What NSS calls the token with the user's keys, whatever the database. */
  readonly label = 'NSS Certificate DB'
  readonly pinFile = join(this.directory, 'pin')
  readonly initialize = `configdir='sql:${this.directory}'`
  readonly #transportFile = join(this.directory, 'transport')

  constructor() {
    writeFileSync(this.pinFile, `${randomInt(10_000_000, 100_000_000)}\n`, { mode: 0o600 })
    writeFileSync(this.#transportFile, `${randomInt(10_000_000, 100_000_000)}\n`, { mode: 0o600 })
    this.#run('certutil', ['-N', '-d', `sql:${this.directory}`, '-f', this.pinFile])
  }

  /** NSS takes keys as PKCS#12, which takes a certificate with every key. */
  importKey(key: { label: string; pkcs8Pem: string }): void {
    const file = join(this.directory, key.label)
    const self = ['req', '-x509', '-new', '-subj', `/CN=${key.label}`, '-out', `${file}.pem`]
    this.#run('openssl', [...self, '-key', '/dev/stdin'], key.pkcs8Pem)
    const bag = ['pkcs12', '-export', '-in', `${file}.pem`, '-name', key.label, '-out', `${file}.p12`]
    const password = ['-passout', `file:${this.#transportFile}`]
    this.#run('openssl', [...bag, ...password, '-inkey', '/dev/stdin'], key.pkcs8Pem)
    const database = ['-d', `sql:${this.directory}`, '-k', this.pinFile]
    this.#run('pk12util', ['-i', `${file}.p12`, '-w', this.#transportFile, ...database])
    rmSync(`${file}.p12`)
  }

  /** A member on this token, as config/ would give it. */
  hsmOptions(overrides: Partial<HsmOptions> = {}): HsmOptions {
    return {
      name: 'nss',
      module: this.module,
      initialize: this.initialize,
      token: { label: this.label },
      pin: { file: this.pinFile },
      userType: 1,
      sessions: 8,
      env: {},
      ...overrides,
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** Input goes through `cat`: what Node gives a child is a socket, which /dev/stdin cannot open. */
  #run(command: string, args: readonly string[], input = ''): void {
    const { status, stdout, stderr } = spawnSync('sh', ['-c', 'cat | "$0" "$@"', command, ...args], {
      input,
      encoding: 'utf8',
      env: { ...process.env, ...QUICK },
    })
    if (status === COMMAND_NOT_FOUND) throw new Error(`${command} not found; install ${INSTALL}`)
    if (status !== 0) throw new Error(`${command} ${args[0]}: ${stdout}${stderr}`)
  }
}

/** How NSS names an imported key: CKA_ID is the SHA-1 of the EC point or of the RSA modulus. */
export function nssSelector(spki: Uint8Array): KeySelector {
  const jwk = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }).export({
    format: 'jwk',
  })
  const decode = (text = ''): Buffer => Buffer.from(text, 'base64url')
  const identity =
    jwk.kty === 'RSA' ? decode(jwk.n) : Buffer.concat([Buffer.from([4]), decode(jwk.x), decode(jwk.y)])
  const id = createHash('sha1').update(identity).digest()
  const percentEncoded = id.toString('hex').replace(/../g, '%$&')
  return { label: undefined, id, uri: `pkcs11:id=${percentEncoded};type=private` }
}

/**
 * Rounds of PBKDF2 that protect each part of a key in the database. With the usual 10,000, NSS spends 120 ms in every
 * C_SignInit with an RSA key.
 */
const QUICK = { NSS_MAX_MP_PBE_ITERATION_COUNT: '1' }

/** Of a shell, POSIX XCU 2.8.2. */
const COMMAND_NOT_FOUND = 127

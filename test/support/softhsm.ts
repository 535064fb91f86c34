/**
 * A SoftHSM of one's own: fresh tokens in a temporary directory with their own SOFTHSM2_CONF, keys generated inside
 * them, everything gone at the end. A machine without SoftHSM fails the test and says what to install.
 */

import { execFileSync } from 'node:child_process'
import { createPublicKey, type KeyObject, randomInt } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { HsmOptions } from '../../src/hsm/options.ts'

/** What pkcs11-tool calls the kinds of key that Sealgate signs with. */
export type TokenKeyType =
  | 'EC:prime256v1'
  | 'EC:secp384r1'
  | 'EC:secp521r1'
  | 'EC:edwards25519'
  | `rsa:${number}`

export class SoftHsm implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'sealgate-softhsm-'))
  readonly module = softHsmModule()
  readonly conf = join(this.directory, 'softhsm2.conf')

  constructor() {
    const tokens = join(this.directory, 'tokens')
    mkdirSync(tokens)
    writeFileSync(
      this.conf,
      `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    )
  }

  /** What a process needs in its environment to see these tokens. */
  get env(): { readonly SOFTHSM2_CONF: string } {
    return { SOFTHSM2_CONF: this.conf }
  }

  addToken(label: string, options: { pin?: string } = {}): SoftToken {
    return new SoftToken(this, label, options)
  }

  [Symbol.dispose](): void {
    this.remove()
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}

export class SoftToken {
  readonly label: string
  readonly pin: string
  /** Holds the PIN, for `pin: { file }`. */
  readonly pinFile: string
  readonly #hsm: SoftHsm

  constructor(hsm: SoftHsm, label: string, options: { pin?: string } = {}) {
    this.#hsm = hsm
    this.label = label
    this.pin = options.pin ?? String(randomInt(10_000_000, 100_000_000))
    this.pinFile = join(hsm.directory, `${label}.pin`)
    writeFileSync(this.pinFile, `${this.pin}\n`, { mode: 0o600 })
    const soPin = String(randomInt(10_000_000, 100_000_000))
    run(
      'softhsm2-util',
      ['--init-token', '--free', '--label', label, '--pin', this.pin, '--so-pin', soPin],
      hsm.env,
    )
  }

  /** @param key.id two hex digits per byte. @returns DER SubjectPublicKeyInfo. */
  generateKey(key: { label: string; id: string; type: TokenKeyType; alwaysAuthenticate?: boolean }): Buffer {
    const always = key.alwaysAuthenticate === true ? ['--always-auth'] : []
    this.tool([
      '--login',
      '--pin',
      this.pin,
      '--keypairgen',
      '--key-type',
      key.type,
      '--label',
      key.label,
      '--id',
      key.id,
      ...always,
    ])
    return this.spki(key.label)
  }

  /** An AES-256 key that wraps others' keys. @param key.extractable as no key should be. */
  generateAesKey(key: { label: string; id: string; extractable?: boolean }): void {
    const access = key.extractable === true ? '--extractable' : '--sensitive'
    this.tool([
      ...['--login', '--pin', this.pin, '--keygen', '--key-type', 'aes:32'],
      ...['--label', key.label, '--id', key.id, access],
    ])
  }

  /** Puts a private key into the token, to have the same one in two tokens. Its public half comes along. */
  importKey(key: { label: string; id: string; pkcs8Pem: string }): void {
    const file = join(this.#hsm.directory, `${this.label}-${key.id}.pem`)
    writeFileSync(file, key.pkcs8Pem, { mode: 0o600 })
    run(
      'softhsm2-util',
      ['--import', file, '--token', this.label, '--label', key.label, '--id', key.id, '--pin', this.pin],
      this.#hsm.env,
    )
    rmSync(file)
  }

  /** DER SubjectPublicKeyInfo of the public key object with this label, and id if the label is not unique. */
  spki(label: string, id?: string): Buffer {
    const objects = this.tool(['--list-objects', '--type', 'pubkey']).split('Public Key Object')
    const has = (object: string, name: string, value: string): boolean =>
      new RegExp(`^\\s*${name}:\\s*${value}$`, 'm').test(object)
    const shown = objects.find(
      (object) => has(object, 'label', label) && (id === undefined || has(object, 'ID', id)),
    )
    const point = /EC_POINT:\s*([0-9a-f]+)/.exec(shown ?? '')?.[1]
    const key = point === undefined ? this.#rsaPublicKey(label) : pointPublicKey(Buffer.from(point, 'hex'))
    return key.export({ format: 'der', type: 'spki' })
  }

  #rsaPublicKey(label: string): KeyObject {
    const file = join(this.#hsm.directory, `${this.label}-${label}.spki`)
    this.tool(['--read-object', '--type', 'pubkey', '--label', label, '--output-file', file])
    return createPublicKey({ key: readFileSync(file), format: 'der', type: 'spki' })
  }

  deletePublicKey(label: string): void {
    this.tool(['--login', '--pin', this.pin, '--delete-object', '--type', 'pubkey', '--label', label])
  }

  /** A member on this token, as config/ would give it. */
  hsmOptions(overrides: Partial<HsmOptions> = {}): HsmOptions {
    return {
      name: 'hsm-a',
      module: this.#hsm.module,
      token: { label: this.label },
      pin: { file: this.pinFile },
      userType: 1,
      sessions: 8,
      env: this.#hsm.env,
      ...overrides,
    }
  }

  tool(args: readonly string[]): string {
    return run(
      'pkcs11-tool',
      ['--module', this.#hsm.module, '--token-label', this.label, ...args],
      this.#hsm.env,
    )
  }
}

/**
 * pkcs11-tool exports neither P-384 nor Ed25519 keys as SPKI, but shows CKA_EC_POINT of all: an OCTET STRING
 * around 04 ‖ x ‖ y, or around the 32 bytes of an Ed25519 key.
 */
function pointPublicKey(octetString: Buffer): KeyObject {
  const point = octetString.subarray(octetString[1] === 0x81 ? 3 : 2)
  if (point.length === 32) {
    const x = point.toString('base64url')
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  }
  const half = (point.length - 1) / 2
  const crv = { 32: 'P-256', 48: 'P-384', 66: 'P-521' }[half] ?? 'unknown'
  const x = point.subarray(1, 1 + half).toString('base64url')
  const y = point.subarray(1 + half).toString('base64url')
  return createPublicKey({ key: { kty: 'EC', crv, x, y }, format: 'jwk' })
}

/** Where the distributions put it. */
const MODULE_PATHS = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
  '/opt/homebrew/lib/softhsm/libsofthsm2.so',
]
const INSTALL = 'install SoftHSM and OpenSC: apt-get install softhsm2 opensc'

function softHsmModule(): string {
  const found = MODULE_PATHS.find((path) => existsSync(path))
  if (found === undefined) throw new Error(`libsofthsm2.so not found; ${INSTALL}`)
  return found
}

function run(command: string, args: readonly string[], env: Record<string, string>): string {
  try {
    return execFileSync(command, args, { env: { ...process.env, ...env }, stdio: 'pipe', encoding: 'utf8' })
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw new Error(`${command} not found; ${INSTALL}`, { cause })
    }
    throw cause
  }
}

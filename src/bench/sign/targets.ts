/** Which HSMs and keys: those of a configuration, or one of each from the command line. */

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

import { z } from 'zod'
import { readCertificateFile } from '../../config/certificate-file.ts'
import type { Config } from '../../config/config.ts'
import { loadConfig } from '../../config/load.ts'
import { suggestion } from '../../config/nearest.ts'
import { parsePkcs11Uri, redactPkcs11Uri } from '../../config/pkcs11-uri.ts'
import { SealgateError } from '../../errors.ts'
import type { HsmOptions, KeySelector } from '../../hsm/options.ts'
import { keyFacts } from '../../hsm/public-key.ts'
import { runTokenJob } from '../../token/run-token-job.ts'
import type { BenchKey, SignBenchPlan } from './plan.ts'
import type { PublicKeyArgs } from './public-key-job.ts'

export type Targets = Pick<SignBenchPlan, 'hsms' | 'keys' | 'signing'>

/** What narrows a configuration down; empty lists narrow nothing. */
export interface ConfigTargetOptions {
  readonly config: string
  readonly hsms: readonly string[]
  readonly keys: readonly string[]
  /** File or DNS name. */
  readonly certificates: readonly string[]
}

/**
 * @throws {ConfigError} of the file.
 * @throws {SealgateError} `ERR_USAGE` for a name that is not in it.
 */
export async function configTargets(options: ConfigTargetOptions): Promise<Targets> {
  const config = await loadConfig(options.config)
  const names = config.hsms.map(({ name }) => name)
  for (const name of options.hsms) known('--hsm', name, names)
  const hsms = config.hsms.filter(({ name }) => options.hsms.length === 0 || options.hsms.includes(name))
  const keys = chosenKeys(config, options).filter(({ key }) =>
    hsms.some(({ name }) => key.hsms.includes(name)),
  )
  if (keys.length === 0) {
    throw usage(
      config.certificates.length === 0
        ? `${config.file} has no certificates, so there is no key to sign with`
        : 'no HSM that was chosen holds a key that was chosen',
    )
  }
  return {
    hsms: hsms.filter(({ name }) => keys.some(({ key }) => key.hsms.includes(name))),
    keys,
    signing: config.signing,
  }
}

/** One HSM and one key, without a configuration. */
export interface BareTargetOptions {
  readonly module: string
  readonly token: HsmOptions['token']
  readonly pinFile: string
  readonly key: string
  /** PEM: the key's certificate, where the token does not show the public key. */
  readonly certificate: string | undefined
  readonly env: Readonly<Record<string, string>>
  readonly initialize: string | undefined
  readonly userType: number
}

/** @throws {SealgateError} `ERR_USAGE`, or of `runTokenJob`. */
export async function bareTargets(options: BareTargetOptions): Promise<Targets> {
  for (const [option, file] of [
    ['--module', options.module],
    ['--pin-file', options.pinFile],
  ] as const) {
    if (!existsSync(file)) throw usage(`${option} ${file}: there is no such file`)
  }
  const hsm: HsmOptions = {
    name: 'label' in options.token ? options.token.label : 'hsm',
    module: resolve(options.module),
    initialize: options.initialize,
    token: options.token,
    pin: { file: resolve(options.pinFile) },
    userType: options.userType,
    sessions: 1,
    env: options.env,
  }
  const selector = parseKeyUri(options.key)
  const spki =
    options.certificate === undefined
      ? await publicKeyOf(hsm, selector)
      : certificateSpki(options.certificate)
  const { keyType } = keyFacts(spki)
  return {
    hsms: [hsm],
    keys: [{ key: { ...selector, hsms: [hsm.name] }, spki, keyType }],
    // As a configuration has them that says nothing of it.
    signing: { timeoutMs: 2000, queue: 1024, hedge: 'auto', verify: 'auto' },
  }
}

function chosenKeys({ certificates }: Config, options: ConfigTargetOptions): readonly BenchKey[] {
  const uris = certificates.map(({ key }) => key.uri)
  for (const uri of options.keys) known('--key', uri, uris)
  const files = certificates.flatMap(({ certificate }) => [certificate.file, ...certificate.names])
  const wanted = options.certificates.map((name) => (files.includes(name) ? name : resolve(name)))
  for (const [index, name] of wanted.entries()) {
    if (!files.includes(name)) known('--certificate', options.certificates[index] ?? name, files)
  }
  const chosen = certificates.filter(
    ({ certificate, key }) =>
      (options.keys.length === 0 || options.keys.includes(key.uri)) &&
      (wanted.length === 0 || [certificate.file, ...certificate.names].some((name) => wanted.includes(name))),
  )
  // Two certificates may have one key; it is measured once.
  const keys = new Map(
    chosen.map(({ certificate: { spki, keyType }, key }) => [key.uri, { key, spki, keyType }]),
  )
  return [...keys.values()]
}

function known(option: string, name: string, names: readonly string[]): void {
  if (names.includes(name)) return
  const there = names.length === 0 ? 'none' : names.join(', ')
  const shown = redactPkcs11Uri(name)
  throw usage(
    `${option} ${shown}: the configuration has no such${suggestion(shown, names)}; there are: ${there}`,
  )
}

function parseKeyUri(text: string): KeySelector {
  if (redactPkcs11Uri(text) !== text) {
    throw usage('--key holds a PIN (pin-value): take it out, change the PIN, and give --pin-file FILE')
  }
  const parsed = parsePkcs11Uri(text)
  if ('error' in parsed)
    throw usage(`--key: ${parsed.error}; a key is named like pkcs11:object=web;type=private`)
  const object = parsed.uri.path.get('object')
  const id = parsed.uri.path.get('id')
  if (object === undefined && id === undefined) {
    throw usage('--key names no object: give object=LABEL, id=%01, or both')
  }
  return { label: object && new TextDecoder().decode(object), id, uri: text }
}

function certificateSpki(file: string): Uint8Array {
  const { certificate, problems } = readCertificateFile(resolve(file), Date.now())
  if (certificate !== undefined) return certificate.spki
  throw usage(`--certificate ${file}: ${problems.map(({ message }) => message).join('; ')}`)
}

function publicKeyOf(hsm: HsmOptions, { uri, label, id }: KeySelector): Promise<Uint8Array> {
  const args: PublicKeyArgs = {
    uri,
    label: label ?? null,
    idHex: id === undefined ? null : Buffer.from(id).toString('hex'),
  }
  return runTokenJob(hsm, {
    job: new URL('./public-key-job.ts', import.meta.url),
    args,
    result: (value) => Buffer.from(z.string().parse(value), 'base64'),
    limitMs: OPEN_LIMIT_MS,
  })
}

function usage(message: string): SealgateError {
  return new SealgateError('ERR_USAGE', message)
}

// Some tokens need 20 s for C_Initialize and login.
const OPEN_LIMIT_MS = 45_000

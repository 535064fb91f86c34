/** Which HSMs and which key a `keys` command means: from a configuration, or one module from the command line. */

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { type KeyInventory, type KeyUse, loadKeyInventory } from '../config/key-inventory.ts'
import { suggestion } from '../config/nearest.ts'
import type { HsmOptions } from '../hsm/options.ts'
import type { KeyName } from '../keys/key-facts.ts'
import {
  environmentOf,
  type ModuleOptions,
  refuseBesideConfig,
  repeatable,
  tokenOf,
  usage,
  wholeNumber,
} from './module-options.ts'

export interface TargetOptions extends ModuleOptions {
  readonly config?: string
  readonly hsm: readonly string[]
  readonly userType: string
}

export interface Target {
  /** undefined: without a configuration. */
  readonly inventory: KeyInventory | undefined
  /** At least one. */
  readonly hsms: readonly HsmOptions[]
}

export interface KeyOptions {
  readonly label?: string
  readonly id?: string
}

/** The options that every `keys` command has. */
export function withTarget(command: Command): Command {
  return command
    .option('--config <file>', 'configuration that names the HSMs')
    .addOption(repeatable('--hsm <name>', 'of the configuration', 'all'))
    .option('--module <file>', "without a configuration: the HSM vendor's PKCS#11 module")
    .option('--token <label>', 'without a configuration: the token, by its label')
    .option('--serial <number>', 'or by its serial number')
    .option('--slot <number>', 'or by its slot')
    .option('--pin-file <file>', 'without a configuration: file with the PIN')
    .addOption(repeatable('--env <name=value>', 'environment for the module', 'none'))
    .option('--initialize <text>', 'parameters for C_Initialize, as hsms.NAME.initialize')
    .option('--user-type <number>', 'who logs in, as hsms.NAME.user_type', DEFAULT_USER_TYPE)
}

/** @throws {SealgateError} `ERR_USAGE`; {ConfigError}. */
export function targetOf(options: TargetOptions): Target {
  if (options.config !== undefined) return configTarget(options.config, options)
  if (options.module === undefined) {
    throw usage('say which HSM: --config FILE, or --module FILE --token LABEL --pin-file FILE')
  }
  if (options.hsm.length > 0) throw usage('--hsm names an HSM of a configuration: give --config FILE too')
  return { inventory: undefined, hsms: [bareHsm(options.module, options)] }
}

/** The same HSMs once more, for a command that is proposed. */
export function targetArguments(options: TargetOptions): readonly string[] {
  const { config, hsm, module, token, serial, slot, pinFile, env, initialize, userType } = options
  const single = {
    '--config': config,
    '--module': module,
    '--token': token,
    '--serial': serial,
    '--slot': slot,
    '--pin-file': pinFile,
    '--initialize': initialize,
    '--user-type': userType === DEFAULT_USER_TYPE ? undefined : userType,
  }
  return [
    ...Object.entries(single).flatMap(([option, value]) => (value === undefined ? [] : [option, value])),
    ...hsm.flatMap((name) => ['--hsm', name]),
    ...env.flatMap((entry) => ['--env', entry]),
  ]
}

function configTarget(file: string, options: TargetOptions): Target {
  refuseBesideConfig(options)
  const inventory = loadKeyInventory(file)
  const names = inventory.hsms.map(({ name }) => name)
  for (const name of options.hsm) {
    if (names.includes(name)) continue
    const known = names.length === 0 ? '; it has none' : `; there are: ${names.join(', ')}`
    throw usage(`there is no hsm "${name}" in ${inventory.file}${suggestion(name, names) || known}`)
  }
  if (names.length === 0) throw usage(`${inventory.file} names no HSM (hsms)`)
  return {
    inventory,
    hsms: inventory.hsms.filter(({ name }) => options.hsm.length === 0 || options.hsm.includes(name)),
  }
}

function bareHsm(module: string, options: TargetOptions): HsmOptions {
  const token = tokenOf(options)
  if (token === undefined) throw usage('say which token: --token LABEL, --serial NUMBER or --slot NUMBER')
  if (options.pinFile === undefined) {
    throw usage('--pin-file FILE is missing: the PIN comes from a file, never from the command line')
  }
  const [path, pinFile] = [resolve(module), resolve(options.pinFile)]
  if (!existsSync(path)) throw usage(`--module ${path}: there is no such file`)
  if (!existsSync(pinFile)) throw usage(`--pin-file ${pinFile}: there is no such file`)
  const name = 'label' in token ? token.label : 'serial' in token ? token.serial : `slot ${token.slot}`
  return {
    name,
    module: path,
    initialize: options.initialize,
    token,
    pin: { file: pinFile },
    userType: wholeNumber('--user-type', options.userType),
    sessions: 1,
    env: environmentOf(options.env),
  }
}

/** The options that choose a key. */
export function withKey(command: Command): Command {
  return command
    .option('--label <label>', 'label of the key (CKA_LABEL)')
    .option('--id <hex>', 'id of the key (CKA_ID), e.g. 0a1b')
}

/** @throws {SealgateError} `ERR_USAGE` when neither is given. */
export function keyNameOf({ label, id }: KeyOptions): KeyName {
  if (label === undefined && id === undefined) throw usage('say which key: --label LABEL, --id HEX, or both')
  return { label: label ?? null, id: id === undefined ? null : hexId(id), spki: null }
}

/** @returns lower-case hex. */
export function hexId(text: string): string {
  const digits = text.replace(/^0x/i, '').replaceAll(/[:%]/g, '').toLowerCase()
  if (/^(?:[0-9a-f]{2}){1,64}$/.test(digits)) return digits
  throw usage(`--id ${text}: write pairs of hexadecimal digits, e.g. 01 or 0a1b2c`)
}

/**
 * A certificate of the configuration.
 *
 * @param wanted its file (or the end of its path), one of its names, its place (`certificates[0]`) or its key URI; undefined: the only one.
 */
export function certificateUse(
  inventory: KeyInventory,
  wanted: string | undefined,
): KeyUse & { readonly chain: string } {
  const certificates = inventory.uses.flatMap((use) =>
    use.chain === undefined ? [] : [{ ...use, chain: use.chain }],
  )
  const found =
    wanted === undefined
      ? certificates
      : certificates.filter(
          ({ place, chain, certificate, key }) =>
            [place, key.uri, chain].includes(wanted) ||
            chain === resolve(wanted) ||
            chain.endsWith(`/${wanted}`) ||
            certificate?.names.includes(wanted.toLowerCase()),
        )
  const [only, ...more] = found
  if (only !== undefined && more.length === 0) return only
  const all = certificates.map(({ place, chain }) => `${place} (${chain})`).join(', ')
  if (certificates.length === 0) throw usage(`${inventory.file} has no certificates`)
  if (only === undefined) {
    const names = certificates.flatMap(({ chain, certificate }) => [chain, ...(certificate?.names ?? [])])
    throw usage(
      `no certificate "${wanted}" in ${inventory.file}${suggestion(wanted ?? '', names) || `; there are: ${all}`}`,
    )
  }
  throw usage(
    wanted === undefined
      ? `say which certificate: --certificate with a file or a name; there are: ${all}`
      : `"${wanted}" is the name of ${found.length} certificates; name the file: ${found.map(({ chain }) => chain).join(', ')}`,
  )
}

/** CKU_USER */
const DEFAULT_USER_TYPE = '1'

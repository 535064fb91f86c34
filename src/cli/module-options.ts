/** One HSM by its module, from the command line instead of a configuration: what `keys`, `doctor` and `bench sign` share. */

import { Option } from 'commander'
import { SealgateError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'

/** As commander gives them. Only without `--config`, which has all of it. */
export interface ModuleOptions {
  readonly module?: string
  readonly token?: string
  readonly serial?: string
  readonly slot?: string
  readonly pinFile?: string
  readonly pinEnv?: string
  readonly env: readonly string[]
  readonly initialize?: string
}

/** @throws {SealgateError} `ERR_USAGE`: beside a configuration they would be ignored. */
export function refuseBesideConfig(options: ModuleOptions): void {
  const given = Object.entries({
    '--module': options.module,
    '--token': options.token,
    '--serial': options.serial,
    '--slot': options.slot,
    '--pin-file': options.pinFile,
    '--pin-env': options.pinEnv,
    '--env': options.env[0],
    '--initialize': options.initialize,
  }).find(([, value]) => value !== undefined)
  if (given !== undefined)
    throw usage(`${given[0]} and --config exclude each other: the configuration has it`)
}

/** @returns undefined when none is given. @throws {SealgateError} `ERR_USAGE` when there are several. */
export function tokenOf({ token, serial, slot }: ModuleOptions): HsmOptions['token'] | undefined {
  const given = [token, serial, slot].filter((each) => each !== undefined)
  if (given.length > 1) throw usage('give one of --token, --serial and --slot')
  if (token !== undefined) return { label: token }
  if (serial !== undefined) return { serial }
  return slot === undefined ? undefined : { slot: wholeNumber('--slot', slot) }
}

/** @param entries `NAME=VALUE`, any number of them. */
export function environmentOf(entries: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    entries.map((entry): [string, string] => {
      const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(entry) ?? []
      if (name === undefined || value === undefined) throw usage('--env: give NAME=VALUE')
      return [name, value]
    }),
  )
}

/** Also 0x…, as vendors write user types. */
export function wholeNumber(option: string, text: string): number {
  if (/^(?:\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text)) return Number(text)
  throw usage(`${option} ${text}: give a whole number`)
}

/** An option that may be given several times. @param none what holds when it is not given. */
export function repeatable(flags: string, description: string, none: string): Option {
  return new Option(flags, `${description}; may be repeated`).argParser(collect).default([], none)
}

export function usage(message: string): SealgateError {
  return new SealgateError('ERR_USAGE', message)
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value]
}

/** `sealgate doctor`: is this configuration, or this module, ready? */

import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Finding } from '../doctor/finding.ts'
import { ConfigError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import {
  environmentOf,
  type ModuleOptions,
  refuseBesideConfig,
  repeatable,
  tokenOf,
  usage,
  wholeNumber,
} from './module-options.ts'
import type { Terminal } from './program.ts'

interface DoctorArguments extends ModuleOptions {
  readonly config?: string
  readonly userType: string
  readonly sessions: string
  readonly timeout: string
  readonly json?: true
}

export function addDoctorCommands(
  program: Command,
  terminal: Terminal,
  ended: (status: number) => void,
): void {
  const command = program
    .command('doctor')
    .description('look at HSMs, keys, certificates and this machine, and say what to do about what is wrong')
    .option('--config <file>', 'all HSMs and certificates of this configuration')
    .option('--module <file>', "instead: one vendor's PKCS#11 module")
    .option('--token <label>', 'its token; not needed where there is only one')
    .option('--serial <number>', 'or by its serial number')
    .option('--slot <number>', 'or by its slot')
    .option('--pin-file <file>', 'holds the PIN; without one only what is public is looked at')
    .option('--pin-env <variable>', 'or the name of the environment variable that holds it')
    .addOption(repeatable('--env <name=value>', 'environment for the module, as hsms.NAME.env', 'none'))
    .option('--initialize <text>', 'parameters for C_Initialize, as hsms.NAME.initialize')
    .option('--user-type <number>', 'who logs in, as hsms.NAME.user_type', '1')
    .option('--sessions <number>', 'signatures at once that are planned', '32')
    .option('--timeout <seconds>', 'the longest that one PKCS#11 call may take', '15')
    .option('--json', 'all findings as JSON')
    .addHelpText('after', HELP)
    .action(async (options: DoctorArguments) => {
      if ((options.config === undefined) === (options.module === undefined)) {
        return command.error('error: give either --config FILE or --module FILE')
      }
      ended(await doctor(options, terminal))
    })
}

async function doctor(options: DoctorArguments, terminal: Terminal): Promise<number> {
  const { statusOf } = await import('../doctor/finding.ts')
  const { countLevels, subjectText, summaryText } = await import('../doctor/report.ts')
  const show = (findings: readonly Finding[]): void => {
    if (options.json !== true) terminal.out(subjectText(findings))
  }
  const findings = await findingsOf(options, show)
  const status = statusOf(findings)
  terminal.out(
    options.json === true
      ? `${JSON.stringify({ status, counts: countLevels(findings), findings }, null, 2)}\n`
      : summaryText(findings),
  )
  return status
}

async function findingsOf(
  options: DoctorArguments,
  onFindings: (findings: readonly Finding[]) => void,
): Promise<readonly Finding[]> {
  const { examineBrokenConfig, examineConfig, examineModule } = await import('../doctor/doctor.ts')
  const settings = { limitMs: 1000 * atLeastOne('--timeout', options.timeout), onFindings }
  if (options.module !== undefined) {
    const login = options.pinFile !== undefined || options.pinEnv !== undefined
    const hsm = hsmOptions(options, options.module)
    return examineModule({ hsm, keys: null, anyToken: tokenOf(options) === undefined, login }, settings)
  }
  refuseBesideConfig(options)
  const { loadConfig } = await import('../config/load.ts')
  try {
    return await examineConfig(await loadConfig(options.config ?? ''), settings)
  } catch (error) {
    if (error instanceof ConfigError) return examineBrokenConfig(error.problems, settings)
    throw error
  }
}

/** @throws {SealgateError} `ERR_USAGE`. */
function hsmOptions(options: DoctorArguments, module: string): HsmOptions {
  const path = resolve(module)
  if (!existsSync(path) || statSync(path).isDirectory())
    throw usage(`--module: ${path}: there is no such file`)
  if (options.pinFile !== undefined && options.pinEnv !== undefined)
    throw usage('give one of --pin-file and --pin-env')
  if (options.pinFile !== undefined && !existsSync(options.pinFile)) {
    throw usage(`--pin-file: ${resolve(options.pinFile)}: there is no such file`)
  }
  return {
    name: path,
    module: path,
    ...(options.initialize === undefined ? {} : { initialize: options.initialize }),
    token: tokenOf(options) ?? { label: '' },
    pin: options.pinEnv === undefined ? { file: resolve(options.pinFile ?? '') } : { env: options.pinEnv },
    userType: wholeNumber('--user-type', options.userType),
    sessions: atLeastOne('--sessions', options.sessions),
    env: environmentOf(options.env),
  }
}

function atLeastOne(option: string, text: string): number {
  const number = wholeNumber(option, text)
  if (number > 0) return number
  throw usage(`${option} ${text}: give a whole number above 0`)
}

const HELP = `
It changes nothing and may run beside a running proxy. The PIN is tried once, and not at all when the token says that
a wrong one was tried before. Modules are loaded in a child process: what crashes or hangs there is named.

Exit status: 0 no error was found (warnings are none), 69 an HSM or this machine is not ready, 78 the configuration.

Examples:
  $ sealgate doctor --config /etc/sealgate.yaml
  $ sealgate doctor --module /usr/lib/softhsm/libsofthsm2.so --env SOFTHSM2_CONF=/etc/softhsm/softhsm2.conf
  $ sealgate doctor --module /opt/cloudhsm/lib/libcloudhsm_pkcs11.so --pin-file /run/secrets/hsm.pin --json`

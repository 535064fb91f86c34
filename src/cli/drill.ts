/** `sealgate drill`: faults in an HSM on command, to rehearse an outage before there is one. */

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { sayRules } from '../drill/control-file.ts'
import { compileFaultModule, faultEnvironment } from '../drill/module.ts'
import { EFFECTS } from '../drill/rules.ts'
import { SealgateError } from '../errors.ts'
import type { Terminal } from './program.ts'

export function addDrillCommands(program: Command, terminal: Terminal): void {
  const drill = program
    .command('drill')
    .description('rehearse the outage of an HSM on a staging proxy')
    .addHelpText('after', HELP)
  const module = drill
    .command('module')
    .description('compile the module that stands between one HSM host and its real module')
    .option('--for <module>', "the HSM vendor's PKCS#11 module (required)")
    .option('--out <file>', 'where to put it', './sealgate-drill.so')
    .option('--control <file>', 'file for `drill say` (default: beside it, with .faults at its end)')
    .action((options: { for?: string; out: string; control?: string }) => {
      if (options.for === undefined) return module.error('error: --for MODULE is missing')
      return buildModule({ ...options, for: options.for }, terminal)
    })
  drill
    .command('say')
    .description('from now on these faults, and no others')
    .argument('<file>', 'control file, as `drill module` has shown it')
    .argument('<rule...>', "each in quotes, e.g. 'C_Sign delay 5ms-20ms'")
    .action((file: string, rules: string[]) => {
      sayRules(file, rules)
      terminal.out(`${file}: ${rules.join('; ')}\n`)
    })
  drill
    .command('clear')
    .description('no faults any more')
    .argument('<file>', 'control file')
    .action((file: string) => {
      sayRules(file, [])
      terminal.out(`${file}: no faults\n`)
    })
}

interface ModuleOptions {
  readonly for: string
  readonly out: string
  readonly control?: string
}

async function buildModule(options: ModuleOptions, terminal: Terminal): Promise<void> {
  const real = resolve(options.for)
  const module = resolve(options.out)
  const control = resolve(options.control ?? `${options.out}.faults`)
  if (!existsSync(real)) throw new SealgateError('ERR_USAGE', `${real}: there is no such file`)
  if (real === module)
    throw new SealgateError('ERR_USAGE', '--out is the real module: it would be overwritten')
  await compileFaultModule(module)
  const env = Object.entries(faultEnvironment({ real, control }))
  terminal.out(`# In the configuration, for the HSM of the drill; its other keys stay as they are:
    module: ${JSON.stringify(module)}
    env: # beside what it has already
${env.map(([name, value]) => `      ${name}: ${JSON.stringify(value)}\n`).join('')}`)
}

const effects = Object.entries(EFFECTS).map(([name, { call, argument, does }]) => {
  const rule = `${call ?? 'CALL'} ${name}${argument === undefined ? '' : ` ${argument.shown}`}`
  return `  ${rule.padEnd(32)} ${does}\n`
})
const HELP = `
Rules: CALL EFFECT [always | times N | probability P]; CALL is a PKCS#11 function, or * for all.
${effects.join('')}
Examples:
  $ sealgate drill module --for /opt/cloudhsm/lib/libcloudhsm_pkcs11.so --out /etc/sealgate/drill.so
  $ sealgate drill say /etc/sealgate/drill.so.faults 'C_Sign fail CKR_DEVICE_ERROR probability 0.5'
  $ sealgate drill say /etc/sealgate/drill.so.faults '* removed' 'C_Initialize delay 3s'
  $ sealgate drill clear /etc/sealgate/drill.so.faults

A drill belongs on a staging proxy: whoever may write the control file can stop the signatures of that HSM.`

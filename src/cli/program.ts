/** The command line: what can be asked, and which exit status each end has. */

import { Command, CommanderError } from 'commander'
import { exitStatus, SealgateError } from '../errors.ts'
import { packageVersion } from '../version.ts'
import { addBenchCommands } from './bench.ts'
import { addCompletionCommands } from './completion.ts'
import { addDoctorCommands } from './doctor.ts'
import { addDrillCommands } from './drill.ts'
import { addKeysCommands } from './keys.ts'
import { addTicketsCommands } from './tickets.ts'

/** Where people read. */
export interface Terminal {
  out(text: string): void
  err(text: string): void
}

/**
 * Runs one command to its end; `run` ends when the proxy has drained.
 *
 * @param args without `node` and the script.
 * @returns the exit status: 0, 64 usage, 69 something is unavailable, 70 a bug, 78 configuration.
 */
export async function runProgram(args: readonly string[], terminal: Terminal = STANDARD): Promise<number> {
  let status = 0
  const program = describeProgram(terminal, (ended) => {
    status = ended
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return status
  } catch (error) {
    // commander has written its message, with the nearest command or option.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitStatus(usageError(error))
    return reportFailure(error, terminal)
  }
}

function describeProgram(terminal: Terminal, ended: (status: number) => void): Command {
  const program = new Command('sealgate')
    .description('Terminates TLS while the private key stays in an HSM.')
    .version(packageVersion(), '--version', 'print the version')
    .exitOverride()
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text) })
    .addHelpText('after', EXAMPLES)

  // Each command is loaded when it is asked for: --help works where the native addon does not.
  addCommand(program, 'run', 'run the proxy until TERM or INT', async (config, { strict, unsafeKeyLog }) => {
    const { run } = await import('./run.ts')
    const keyLog = typeof unsafeKeyLog === 'string' ? { unsafeKeyLog } : {}
    ended(await run(config, { strict: strict === true, ...keyLog }))
  })
    .option('--strict', 'do not wait for HSMs: end with 69 unless every certificate can be signed for')
    .option(
      '--unsafe-key-log <file>',
      'append the secrets of every connection to FILE (SSLKEYLOGFILE format): whoever reads it can decrypt all traffic',
    )
    .addHelpText('after', RUN_HELP)
  addCommand(
    program,
    'check',
    'check the configuration, reach every HSM and let every key sign once',
    async (config) => {
      const { check } = await import('./check.ts')
      ended(await check(config, terminal))
    },
  )
  addKeysCommands(program, terminal, ended)
  addDoctorCommands(program, terminal, ended)
  addTicketsCommands(program, terminal)
  addDrillCommands(program, terminal)
  addBenchCommands(program, terminal, ended)
  addAuditCommands(program, terminal, ended)
  addCompletionCommands(program, terminal)
  return program
}

function addAuditCommands(program: Command, terminal: Terminal, ended: (status: number) => void): void {
  program
    .command('audit')
    .description('work with the audit log')
    .command('verify')
    .description('find any record that was edited, removed, reordered or put in')
    .argument('<files...>', 'the log and its full files, in any order: audit.jsonl*')
    .option('--public-key <file>', 'verify the checkpoints: PEM, a public key or a certificate')
    .option('--expect-head <hash>', 'a hash noted earlier, of the last record then: it must be there')
    .option('--json', 'the result as JSON')
    .addHelpText('after', AUDIT_HELP)
    .action(async (files: string[], options: { publicKey?: string; expectHead?: string; json?: true }) => {
      const { auditVerify } = await import('./audit.ts')
      const { publicKey, expectHead, json = false } = options
      ended(await auditVerify(files, { publicKey, expectHead, json }, terminal))
    })
}

function addCommand(
  program: Command,
  name: string,
  description: string,
  action: (config: string, options: Readonly<Record<string, unknown>>) => Promise<void>,
): Command {
  const command = program
    .command(name)
    .description(description)
    .option('--config <file>', 'configuration, see config/README.md (required)')
    .action(({ config, ...options }: { config?: string }) => {
      // Not requiredOption(): that complains before it sees that --confg was meant.
      if (config === undefined || config === '') return command.error('error: --config FILE is missing')
      return action(config, options)
    })
  return command
}

function reportFailure(error: unknown, terminal: Terminal): number {
  if (error instanceof SealgateError) {
    terminal.err(`${error.message}\n`)
    return exitStatus(error)
  }
  const reason = error instanceof Error ? error.message : String(error)
  terminal.err(`sealgate: unexpected error: ${reason}\nThis is a bug; please report it`)
  terminal.err(
    process.env['SEALGATE_DEBUG'] === '1' && error instanceof Error
      ? `:\n${error.stack}\n`
      : '. SEALGATE_DEBUG=1 shows where it happened.\n',
  )
  return exitStatus(error)
}

function usageError(cause: CommanderError): SealgateError {
  return new SealgateError('ERR_USAGE', cause.message, { cause })
}

const STANDARD: Terminal = {
  out: (text) => {
    process.stdout.write(text)
  },
  err: (text) => {
    process.stderr.write(text)
  },
}
const RUN_HELP = `
Without --strict it starts with the certificates that can be signed for and serves the others when their HSM is
there. While there is none at all, its listeners stay closed, /healthz says ok and /readyz says why not. It ends
with 69 when waiting is of no use: a wrong PIN, a key that is not the certificate's, a module that does not load.

Examples:
  $ sealgate run --config /etc/sealgate.yaml
  $ sealgate run --strict --config /etc/sealgate.yaml`
const AUDIT_HELP = `
Exit status: 0 nothing is wrong, 65 something is (with file and line), 66 a file cannot be read.
What the log proves and what it cannot is in src/audit/README.md.`
const EXAMPLES = `
Examples:
  $ sealgate check --config /etc/sealgate.yaml
  $ sealgate run --config /etc/sealgate.yaml

Signals to run: TERM or INT drains and exits 0, a second one stops now.
Exit status: 0, 64 usage, 69 an HSM or port is unavailable, 70 a bug, 74 standard output cannot be written,
78 configuration.`

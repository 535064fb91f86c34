/** `sealgate tickets`: the ticket keys that a fleet shares, shown and rotated from outside. */

import { rename, writeFile } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import type { Terminal } from './program.ts'

export function addTicketsCommands(program: Command, terminal: Terminal): void {
  const tickets = program.command('tickets').description('the session-ticket keys that a fleet shares')
  const show = tickets
    .command('show')
    .description('names, dates and which one is in use; nothing that is secret')
    .option('--config <file>', 'configuration with tls.tickets.shared (required)')
    .option('--json', 'as JSON')
    .addHelpText('after', SHOW_HELP)
    .action(async ({ config, json = false }: { config?: string; json?: boolean }) => {
      if (config === undefined) return show.error('error: --config FILE is missing')
      await showTickets(config, json, terminal)
    })
  const rotate = tickets
    .command('rotate')
    .description('make the next key, if it is time; for places that the proxies themselves may not write')
    .option('--config <file>', 'configuration with tls.tickets.shared (required)')
    .addOption(
      new Option('--now', 'the next key takes over as soon as all nodes know it').conflicts('replace'),
    )
    .option('--replace', 'forget all keys: no session of before resumes, because a key was stolen, say')
    .option('--out <file>', 'write the new set there (`-`: standard output) and leave the place alone')
    .addHelpText('after', ROTATE_HELP)
    .action(async ({ config, ...options }: { config?: string } & RotateOptions) => {
      if (config === undefined) return rotate.error('error: --config FILE is missing')
      await rotateTickets(config, options, terminal)
    })
}

interface RotateOptions {
  readonly now?: true
  readonly replace?: true
  readonly out?: string
}

async function showTickets(file: string, json: boolean, terminal: Terminal): Promise<void> {
  const [{ loadConfig }, { openTickets }, { parseSealed }, { datedStatus }, { TicketsError }] =
    await Promise.all([
      import('../config/load.ts'),
      import('../ticket-sharing.ts'),
      import('../tickets/sealed-set.ts'),
      import('../tickets/status.ts'),
      import('../errors.ts'),
    ])
  const { store, options } = openTickets(await loadConfig(file))
  try {
    const text = await store.read()
    if (text === undefined)
      throw new TicketsError('ERR_TICKETS_ABSENT', `there are no shared ticket keys in ${store.name}`)
    const sealed = parseSealed(text)
    const { created, keys } = datedStatus(sealed, Date.now())
    const shown = { place: store.name, key: sealed.key, created, keys }
    if (json) {
      terminal.out(`${JSON.stringify(shown, null, 2)}\n`)
      return
    }
    const other = sealed.key === options.key.uri ? '' : ` (this configuration has ${options.key.uri})`
    terminal.out(`place    ${store.name}\nkey      ${sealed.key}${other}\ncreated  ${created}\n\n`)
    for (const { name, state, from, until } of keys)
      terminal.out(`${name}  ${state.padEnd(8)}  from ${from}  until ${until}\n`)
  } finally {
    await store.close()
  }
}

async function rotateTickets(
  file: string,
  { now, replace, out }: RotateOptions,
  terminal: Terminal,
): Promise<void> {
  const [{ loadConfig }, { withTicketTools }, { rotate }] = await Promise.all([
    import('../config/load.ts'),
    import('../ticket-sharing.ts'),
    import('../tickets/rotate.ts'),
  ])
  const mode = replace === true ? 'replace' : now === true ? 'now' : 'due'
  await withTicketTools(await loadConfig(file), async ({ store, schedule, key }) => {
    const place = out === undefined ? store : { read: () => store.read(), replace: writeInto(out, terminal) }
    const { text, changed } = await rotate({ store: place, key, schedule, mode, nowMs: Date.now() })
    // Always something to pass on: whoever pipes it need not know whether it was time.
    if (!changed && out !== undefined) await writeInto(out, terminal)(undefined, text)
    const where = out === undefined || out === '-' ? store.name : out
    const say = out === '-' ? terminal.err : terminal.out
    say(changed ? `rotated: ${where}\n` : `nothing is due: ${store.name} has its next key\n`)
  })
}

function writeInto(
  file: string,
  terminal: Terminal,
): (_: string | undefined, text: string) => Promise<boolean> {
  return async (_, text) => {
    if (file === '-') terminal.out(text)
    else await writeWhole(file, text)
    return true
  }
}

async function writeWhole(file: string, text: string): Promise<void> {
  try {
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
  } catch (cause) {
    const { TicketsError } = await import('../errors.ts')
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new TicketsError('ERR_TICKETS_PLACE', `${file} cannot be written: ${reason}`, { cause })
  }
}

const SHOW_HELP = `
Needs no HSM. The dates are as the set says; whether an HSM has sealed them, \`sealgate check\` proves.`
const ROTATE_HELP = `
Proxies that may write the place rotate by themselves. Where they may not, a mounted Kubernetes Secret say, run this
more often than tls.ticket_rotation; it does nothing until it is time. What it writes is ciphertext.

Examples:
  $ sealgate tickets rotate --config /etc/sealgate.yaml
  $ sealgate tickets rotate --config /etc/sealgate.yaml --out ticket-keys &&
    kubectl create secret generic sealgate-tickets --from-file=ticket-keys --dry-run=client -o yaml | kubectl apply -f -
  $ sealgate tickets rotate --config /etc/sealgate.yaml --replace

Exit status: 0, 69 an HSM or the place is unavailable or what lies there cannot be opened, 78 configuration.`

/** `sealgate keys`: what can be asked; each subcommand is a file of its own. */

import type { Command } from 'commander'

import { type KeyOptions, type TargetOptions, targetOf, withKey, withTarget } from './key-target.ts'
import type { RotateOptions } from './keys-rotate.ts'
import { repeatable } from './module-options.ts'
import type { Terminal } from './program.ts'

export function addKeysCommands(program: Command, terminal: Terminal, ended: (status: number) => void): void {
  const keys = program
    .command('keys')
    .description('keys in the HSM, from generation to destruction, and their certificates')
    .addHelpText('after', HELP)
    .hook('preAction', () => tellOfSilence(terminal))
  addList(keys, terminal, ended)
  addGenerate(keys, terminal)
  addCsr(keys, terminal)
  addSelfSign(keys, terminal)
  addImport(keys, terminal)
  addRotate(keys, terminal)
  addDestroy(keys, terminal)
}

async function tellOfSilence(terminal: Terminal): Promise<void> {
  const { onSilence } = await import('../keys/jobs.ts')
  onSilence(({ hsm, silentMs, limitMs }) =>
    terminal.err(
      `hsm "${hsm}": no answer for ${silentMs / 1000} s; waiting for it, ${limitMs / 1000} s at most\n`,
    ),
  )
}

/** commander's flags are true or absent. */
interface Json {
  readonly json?: true
}

function addList(keys: Command, terminal: Terminal, ended: (status: number) => void): void {
  withTarget(keys.command('list').description('all keys of each HSM: what protects them and what uses them'))
    .option('--json', 'as JSON')
    .addHelpText('after', LIST_HELP)
    .action(async ({ json, ...options }: TargetOptions & Json) => {
      const { listKeys } = await import('./keys-list.ts')
      ended(await listKeys(targetOf(options), { json: json === true }, terminal))
    })
}

function addGenerate(keys: Command, terminal: Terminal): void {
  withKey(
    withTarget(keys.command('generate').description('generate a key that signs and cannot leave the HSM')),
  )
    .option('--type <type>', 'p-256, p-384, p-521, rsa-2048, rsa-3072, rsa-4096, ed25519, aes-256', 'p-256')
    .option('--json', 'as JSON')
    .addHelpText('after', GENERATE_HELP)
    .action(async ({ json, ...options }: TargetOptions & KeyOptions & Json & { type: string }) => {
      const { generate } = await import('./keys-generate.ts')
      await generate(targetOf(options), { ...options, json: json === true }, terminal)
    })
}

interface RequestArguments extends TargetOptions, KeyOptions, Json {
  readonly subject?: string
  readonly san: readonly string[]
  readonly certificate?: string
  readonly out?: string
}

function withRequest(command: Command): Command {
  return withKey(withTarget(command))
    .option(
      '--certificate <name>',
      'of the configuration: its key, and its subject and names unless others are given',
    )
    .addOption(repeatable('--san <name>', 'dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS', 'none'))
    .option(
      '--subject <name>',
      'e.g. "CN=www.example.com,O=Example GmbH,C=DE" (default: CN and the first name)',
    )
    .option('--out <file>', 'where to write it (default: standard output)')
    .option('--json', 'facts and PEM as JSON')
}

function addCsr(keys: Command, terminal: Terminal): void {
  withRequest(keys.command('csr').description('a request for a certificate (PKCS#10), signed in the HSM'))
    .addHelpText('after', CSR_HELP)
    .action(async ({ json, ...options }: RequestArguments) => {
      const { requestCertificate } = await import('./keys-request.ts')
      await requestCertificate(targetOf(options), { ...options, json: json === true }, terminal)
    })
}

function addSelfSign(keys: Command, terminal: Terminal): void {
  withRequest(keys.command('self-sign').description('a certificate that only its own key vouches for'))
    .option('--days <number>', 'how long it is valid', '90')
    .addHelpText('after', SELF_SIGN_HELP)
    .action(async ({ json, ...options }: RequestArguments & { days: string }) => {
      const { selfSign } = await import('./keys-request.ts')
      await selfSign(targetOf(options), { ...options, json: json === true }, terminal)
    })
}

interface ImportArguments extends TargetOptions, KeyOptions, Json {
  readonly chain?: string
  readonly certificate?: string
  readonly to?: string
  readonly fewerNames?: true
}

function addImport(keys: Command, terminal: Terminal): void {
  const command = keys
    .command('import-cert')
    .description('compare a certificate with the key in the HSM, and put it in its place')
  withKey(withTarget(command))
    .option('--chain <file>', 'the certificate that has arrived, with its intermediates (PEM; required)')
    .option('--certificate <name>', 'of the configuration: file, name or place (default: the only one)')
    .option('--to <file>', 'where to put it (default: the place that the configuration names)')
    .option('--fewer-names', 'it need not have all names of the certificate in use')
    .option('--json', 'as JSON')
    .addHelpText('after', IMPORT_HELP)
    .action(async ({ json, chain, fewerNames, ...options }: ImportArguments) => {
      if (chain === undefined) return command.error('error: --chain FILE is missing')
      const { importCertificate } = await import('./keys-import-cert.ts')
      const flags = { fewerNames: fewerNames === true, json: json === true }
      return importCertificate(targetOf(options), { ...options, ...flags, chain }, terminal)
    })
}

interface RotateArguments extends TargetOptions, RotateOptions {}

function addRotate(keys: Command, terminal: Terminal): void {
  withTarget(
    keys.command('rotate').description('a new key for a certificate, step by step: run it again to go on'),
  )
    .option('--certificate <name>', 'of the configuration: file, name or place (default: the only one)')
    .option('--type <type>', 'of the new key (default: as the old one)')
    .option('--label <label>', 'of the new key (default: as the old one, with the date)')
    .option('--out <file>', 'where the request goes (default: beside the certificate)')
    .option('--overlap <duration>', 'how long the old key stays after the switch (default: 7d)')
    .option('--chain <file>', 'the new certificate, when it has arrived')
    .option('--fewer-names', 'it need not have all names of the old one')
    .option('--print', 'show the change of the configuration instead of making it')
    .option('--pid <number>', 'the proxy, to be told to reload (HUP) after the switch')
    .option(
      '--in-force',
      'you have seen that the proxy serves with the new certificate: do not ask its admin address',
    )
    .option('--retire', 'destroy the old key, when the overlap has ended')
    .option('--keep-old-key', 'end the rotation and leave the old key where it is')
    .option('--early', 'do not wait for the end of the overlap')
    .option('--abort', 'before the switch: destroy the new key and forget the rotation')
    .option(
      '--confirm <label>',
      'label of the key that is to be destroyed, once more; without it, it is asked for',
    )
    .option('--status', 'what is under way')
    .option('--state <folder>', 'where states of rotations are (default: beside the configuration)')
    .option('--json', 'as JSON')
    .addHelpText('after', ROTATE_HELP)
    .action(async (options: RotateArguments) => {
      const { rotate } = await import('./keys-rotate.ts')
      await rotate(targetOf(options), options, terminal)
    })
}

interface DestroyArguments extends TargetOptions, KeyOptions, Json {
  readonly confirm?: string
  readonly state?: string
}

function addDestroy(keys: Command, terminal: Terminal): void {
  withKey(withTarget(keys.command('destroy').description('destroy a key that nothing uses any more')))
    .option('--confirm <label>', 'its label once more; without it, it is asked for')
    .option('--state <folder>', 'where states of rotations are (default: beside the configuration)')
    .option('--json', 'as JSON')
    .addHelpText('after', DESTROY_HELP)
    .action(async ({ json, ...options }: DestroyArguments) => {
      const { destroy } = await import('./keys-destroy.ts')
      await destroy(targetOf(options), { ...options, json: json === true }, terminal)
    })
}

const HELP = `
The HSM comes from a configuration (--config, and --hsm for one of several), or from the command line:
  --module FILE --token LABEL --pin-file FILE
No PIN is ever an argument. Where the configuration has an audit log, every step is a record of keys-NAME beside it,
which \`sealgate audit verify\` checks.

Examples:
  $ sealgate keys list --config /etc/sealgate.yaml
  $ sealgate keys generate --config /etc/sealgate.yaml --label www-2026
  $ sealgate keys csr --config /etc/sealgate.yaml --label www-2026 --san dns:www.example.com --out www.csr
  $ sealgate keys import-cert --config /etc/sealgate.yaml --certificate www.example.com --chain from-the-ca.pem
  $ sealgate keys rotate --config /etc/sealgate.yaml --certificate www.example.com
  $ sealgate keys destroy --config /etc/sealgate.yaml --label www-2025`
const LIST_HELP = `
What is not as it should be is in capitals: READABLE, EXTRACTABLE.

Examples:
  $ sealgate keys list --config /etc/sealgate.yaml --hsm hsm-a
  $ sealgate keys list --module /usr/lib/softhsm/libsofthsm2.so --token web --pin-file web.pin --env SOFTHSM2_CONF=/etc/softhsm2.conf
  $ sealgate keys list --config /etc/sealgate.yaml --json`
const GENERATE_HELP = `
Sensitive, not extractable, for signing only; it signs a test message, or it is destroyed again. aes-256 encrypts and decrypts only
(session-ticket keys). A label or id that is there already is refused. With several HSMs, all must show the same key store.

Examples:
  $ sealgate keys generate --config /etc/sealgate.yaml --label www-2026
  $ sealgate keys generate --config /etc/sealgate.yaml --hsm hsm-a --type rsa-3072 --label www-rsa --id 0a
  $ sealgate keys generate --module /opt/cloudhsm/lib/libcloudhsm_pkcs11.so --slot 0 --pin-file /run/secrets/hsm.pin --label www-2026`
const CSR_HELP = `
Signed by the key, and verified before it is shown.

Examples:
  $ sealgate keys csr --config /etc/sealgate.yaml --label www-2026 --san dns:www.example.com --san dns:example.com --out www.csr
  $ sealgate keys csr --config /etc/sealgate.yaml --certificate www.example.com --out renewal.csr
  $ sealgate keys csr --config /etc/sealgate.yaml --label mesh --subject CN=web --san uri:spiffe://example.com/web`
const SELF_SIGN_HELP = `
For trials, and for peers that are told to trust this one certificate.

Examples:
  $ sealgate keys self-sign --config /etc/sealgate.yaml --label lab --san dns:lab.internal --san ip:192.0.2.7 --days 30 --out lab.pem`
const IMPORT_HELP = `
Refused: another key than the HSM's, a wrong order, an issuer that has not signed, expired or not yet valid, fewer names than
now. What was in the place is kept beside it, with the date and .bak behind its name.

Examples:
  $ sealgate keys import-cert --config /etc/sealgate.yaml --chain from-the-ca.pem
  $ sealgate keys import-cert --config /etc/sealgate.yaml --label www-2026 --chain from-the-ca.pem --to /etc/sealgate/www.pem`
const ROTATE_HELP = `
Steps: a new key is generated, its request signed; you have the certificate issued; it is compared with the key and put beside the old
one; every HSM signs with the key once; key.uri and chain are changed in the configuration, nothing else in it; the proxy is
seen to serve with the new key (on its admin address); after the overlap the old key is destroyed. A step that failed or was
interrupted is taken again by the same command.

Examples:
  $ sealgate keys rotate --config /etc/sealgate.yaml --certificate www.example.com
  $ sealgate keys rotate --config /etc/sealgate.yaml --certificate www.example.com --chain from-the-ca.pem --pid 4711
  $ sealgate keys rotate --config /etc/sealgate.yaml --certificate www.example.com --retire --confirm www-2025
  $ sealgate keys rotate --config /etc/sealgate.yaml --status`
const DESTROY_HELP = `
Refused while the configuration names the key, or a rotation needs it.

Examples:
  $ sealgate keys destroy --config /etc/sealgate.yaml --label www-2025
  $ sealgate keys destroy --config /etc/sealgate.yaml --hsm hsm-b --label www-2025 --confirm www-2025`

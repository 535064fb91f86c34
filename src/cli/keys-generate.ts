/** `sealgate keys generate` */

import { randomBytes } from 'node:crypto'

import { suggestion } from '../config/nearest.ts'
import { generateInCluster } from '../keys/cluster.ts'
import type { KeyOnToken } from '../keys/jobs.ts'
import { keyFields, withJournal } from '../keys/journal.ts'
import { keyUri } from '../keys/key-facts.ts'
import { KEY_TYPE_NAMES, type KeyTypeName } from '../keys/key-types.ts'
import { hexId, type KeyOptions, type Target, type TargetOptions, targetArguments } from './key-target.ts'
import { tellUnsigned } from './keys-journal.ts'
import { usage } from './module-options.ts'
import type { Terminal } from './program.ts'

export interface GenerateOptions extends TargetOptions, KeyOptions {
  readonly type: string
  readonly json: boolean
}

export async function generate(target: Target, options: GenerateOptions, terminal: Terminal): Promise<void> {
  const args = {
    type: keyTypeName(options.type),
    label: labelOf(options.label),
    id: options.id === undefined ? randomBytes(8).toString('hex') : hexId(options.id),
  }
  const { inventory, hsms } = target
  const names = hsms.map(({ name }) => name)
  const { value: made, unsigned } = await withJournal(
    {
      audit: inventory?.audit,
      hsms: inventory?.hsms ?? hsms,
      config: inventory,
      command: { name: 'keys generate', hsms: names, ...args },
    },
    (journal) => journal.around('generate', { hsms: names }, () => generateInCluster(hsms, args), keyFields),
  )
  tellUnsigned(unsigned, terminal)
  terminal.out(
    options.json
      ? `${JSON.stringify({ ...made, uri: keyUri(made.key), hsms: names }, null, 2)}\n`
      : text(made, names, targetArguments(options)),
  )
}

function text({ token, key }: KeyOnToken, names: readonly string[], target: readonly string[]): string {
  const seen = names.length > 1 ? `, seen by ${names.join(' and ')}` : ''
  const lines = [
    `${key.type} key "${key.label}" (id ${key.id}) was generated in token "${token.label}"${seen}: sensitive, not extractable.`,
    ...(key.kind === 'secret' ? [] : ['It has signed a test message.']),
    '',
    '    key:',
    `      uri: ${JSON.stringify(keyUri(key))}`,
    `      hsms: [${names.join(', ')}]`,
    ...(key.kind === 'secret'
      ? []
      : [
          '',
          `Next: ${['sealgate', 'keys', 'csr', ...target, '--label', key.label].map(shellWord).join(' ')} --san dns:NAME`,
        ]),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

/** As a POSIX shell takes it for one word. */
function shellWord(text: string): string {
  return /^[\w.,:+@%/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function keyTypeName(text: string): KeyTypeName {
  const wanted = text
    .toLowerCase()
    .replaceAll('_', '-')
    .replace(/^p(\d)/, 'p-$1')
    .replace(/^(rsa|aes)(\d)/, '$1-$2')
  const found = KEY_TYPE_NAMES.find((name) => name === (ALIASES.get(wanted) ?? wanted))
  if (found !== undefined) return found
  throw usage(
    `--type ${text}: no such type${suggestion(wanted, KEY_TYPE_NAMES)}; there are: ${KEY_TYPE_NAMES.join(', ')}`,
  )
}

function labelOf(label: string | undefined): string {
  if (label === undefined || label.trim() === '') {
    throw usage('--label LABEL is missing: the name of the new key, e.g. www-2026')
  }
  if (Buffer.byteLength(label) > MAX_LABEL_BYTES || /\p{Cc}/u.test(label)) {
    throw usage(`--label: at most ${MAX_LABEL_BYTES} bytes, without control characters`)
  }
  return label
}

const ALIASES: ReadonlyMap<string, string> = new Map([
  ['prime256v1', 'p-256'],
  ['secp256r1', 'p-256'],
  ['secp384r1', 'p-384'],
  ['secp521r1', 'p-521'],
  ['ec', 'p-256'],
  ['ecdsa', 'p-256'],
  ['rsa', 'rsa-2048'],
])
// Some modules take no more.
const MAX_LABEL_BYTES = 128

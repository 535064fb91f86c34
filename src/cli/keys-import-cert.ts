/** `sealgate keys import-cert`: a certificate that has arrived, compared with the key in the HSM, at its place. */

import { resolve } from 'node:path'
import { SealgateError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { checkChain } from '../keys/check-chain.ts'
import { readStores } from '../keys/cluster.ts'
import { refuseUnwritable, replaceFile } from '../keys/files.ts'
import { withJournal } from '../keys/journal.ts'
import { keyNameText, type TokenKey } from '../keys/key-facts.ts'
import { selects } from '../keys/usage.ts'
import { certificateUse, type KeyOptions, keyNameOf, type Target } from './key-target.ts'
import { tellUnsigned } from './keys-journal.ts'
import { usage } from './module-options.ts'
import type { Terminal } from './program.ts'

export interface ImportOptions extends KeyOptions {
  /** The PEM file that has arrived. */
  readonly chain: string
  /** Of the configuration; its file is the place, its key the one to compare with. */
  readonly certificate?: string
  /** Where the chain goes. */
  readonly to?: string
  readonly fewerNames: boolean
  readonly json: boolean
}

export async function importCertificate(
  target: Target,
  options: ImportOptions,
  terminal: Terminal,
): Promise<void> {
  const { inventory } = target
  const wanted = whatIsWanted(target, options)
  refuseUnwritable(wanted.file, { mayExist: true })
  const key = await theKey(target, wanted.isKey, wanted.keyText)
  if (key.spki === null)
    throw usage(`the token does not show the public half of ${keyNameText(key)}: it cannot be compared`)
  const checked = checkChain(resolve(options.chain), {
    spki: key.spki,
    keyName: keyNameText(key),
    names: options.fewerNames ? [] : wanted.names,
  })
  const command = { name: 'keys import-cert', file: wanted.file, label: key.label, id: key.id }
  const { value: backup, unsigned } = await withJournal(
    { audit: inventory?.audit, hsms: inventory?.hsms ?? target.hsms, config: inventory, command },
    (journal) =>
      journal.around('import-cert', { file: wanted.file, names: checked.certificate.names }, async () =>
        replaceFile(wanted.file, checked.pem),
      ),
  )
  tellUnsigned(unsigned, terminal)
  const notAfter = new Date(checked.certificate.notAfterMs).toISOString().slice(0, 10)
  if (options.json) {
    const { names } = checked.certificate
    terminal.out(
      `${JSON.stringify({ file: wanted.file, backup: backup ?? null, names, notAfter, key, warnings: checked.warnings }, null, 2)}\n`,
    )
    return
  }
  for (const warning of checked.warnings) terminal.err(`warning: ${warning}\n`)
  terminal.out(
    `${wanted.file}: certificate for ${checked.certificate.names.join(', ')}, until ${notAfter}, ${checked.certificate.chain.length} in the chain; its key is ${keyNameText(key)} in the HSM.\n`,
  )
  if (backup !== undefined) terminal.out(`What was there is in ${backup}.\n`)
  terminal.out(
    'A running proxy takes it up when it is told to reload (HUP), or by itself where it watches its files.\n',
  )
}

interface Wanted {
  readonly file: string
  readonly isKey: (hsm: HsmOptions, key: TokenKey) => boolean
  readonly keyText: string
  readonly names: readonly string[]
}

function whatIsWanted({ inventory }: Target, options: ImportOptions): Wanted {
  const named = options.label === undefined && options.id === undefined ? undefined : keyNameOf(options)
  const isNamed = (key: TokenKey): boolean =>
    named !== undefined &&
    (named.label === null || named.label === key.label) &&
    (named.id === null || named.id === key.id)
  if (inventory === undefined) {
    if (options.to === undefined) throw usage('--to FILE is missing: where the chain goes')
    if (named === undefined) throw usage('say which key it is for: --label LABEL, --id HEX, or both')
    return {
      file: resolve(options.to),
      isKey: (_, key) => isNamed(key),
      keyText: keyNameText(named),
      names: [],
    }
  }
  const use = certificateUse(inventory, options.certificate)
  return {
    file: options.to === undefined ? use.chain : resolve(options.to),
    isKey: (hsm, key) =>
      named === undefined
        ? selects(use.key.byHsm?.get(hsm.name) ?? use.key, key) && use.key.hsms.includes(hsm.name)
        : isNamed(key),
    keyText: named === undefined ? use.key.uri : keyNameText(named),
    names: use.certificate?.names ?? [],
  }
}

/** In every HSM that should have it: a certificate whose key one member has not would be found out by clients. */
async function theKey(
  { hsms, inventory }: Target,
  isKey: Wanted['isKey'],
  keyText: string,
): Promise<TokenKey> {
  const concerned = hsms.filter(
    (hsm) => inventory === undefined || inventory.uses.some(({ key }) => key.hsms.includes(hsm.name)),
  )
  const stores = await readStores(concerned.length > 0 ? concerned : hsms)
  const found = stores.flatMap(({ members }) =>
    members.flatMap(({ hsm, content }) =>
      content.keys.filter((key) => key.kind === 'private' && isKey(hsm, key)),
    ),
  )
  const [first] = found
  if (first === undefined) {
    const all = stores.flatMap(({ members }) => members[0]?.content.keys ?? []).map((key) => keyNameText(key))
    const shown = all.length === 0 ? 'there is no key at all' : `there are: ${all.join('; ')}`
    throw new SealgateError('ERR_HSM_KEY_NOT_FOUND', `no private key matches ${keyText}; ${shown}`)
  }
  const different = new Set(found.map(({ spki }) => spki))
  if (different.size > 1) {
    throw usage(
      `${keyText} is not one key but ${different.size}: ${found.map(keyNameText).join('; ')}; give --label and --id`,
    )
  }
  return first
}

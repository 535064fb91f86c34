/** `sealgate keys destroy` */

import { SealgateError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { isSameToken, readStores, type Store } from '../keys/cluster.ts'
import { destroyKey, readToken } from '../keys/jobs.ts'
import { keyFields, withJournal } from '../keys/journal.ts'
import { exactName, type KeyName, keyNameText, type TokenFacts, type TokenKey } from '../keys/key-facts.ts'
import { rotationsThatNeed } from '../keys/rotation-state.ts'
import { usesOf } from '../keys/usage.ts'
import { ask } from './ask.ts'
import { type KeyOptions, keyNameOf, type Target } from './key-target.ts'
import { tellUnsigned } from './keys-journal.ts'
import { usage } from './module-options.ts'
import type { Terminal } from './program.ts'

export interface DestroyOptions extends KeyOptions {
  /** The label once more. */
  readonly confirm?: string
  readonly state?: string
  readonly json: boolean
}

export async function destroy(target: Target, options: DestroyOptions, terminal: Terminal): Promise<void> {
  const { inventory, hsms } = target
  const { store, key } = await whichKey(target, keyNameOf(options))
  await refuseUsed(target, store, key, options.state)
  await refuseUnconfirmed(key, store, options.confirm)
  const [member] = store.members
  if (member === undefined) throw usage('there is no HSM to destroy a key in')
  const command = { name: 'keys destroy', hsm: member.hsm.name, label: key.label, id: key.id }
  const { value: destroyed, unsigned } = await withJournal(
    { audit: inventory?.audit, hsms: inventory?.hsms ?? hsms, config: inventory, command },
    (journal) =>
      journal.around(
        'destroy',
        { hsm: member.hsm.name },
        () => destroyKey(member.hsm, exactName(key)),
        keyFields,
      ),
  )
  tellUnsigned(unsigned, terminal)
  if (options.json)
    terminal.out(`${JSON.stringify({ destroyed: destroyed.key, token: destroyed.token }, null, 2)}\n`)
  else {
    terminal.out(`The ${key.type} key ${keyNameText(key)} in token "${store.token.label}" was destroyed.\n`)
    if (inventory === undefined)
      terminal.out('No configuration was given, so nobody looked whether one uses it.\n')
  }
}

async function whichKey(
  target: Target,
  name: KeyName,
): Promise<{ readonly store: Store; readonly key: TokenKey }> {
  const stores = await readStores(target.hsms)
  const found = stores.flatMap((store) =>
    (store.members[0]?.content.keys ?? []).flatMap((key) => (isCalled(key, name) ? [{ store, key }] : [])),
  )
  const [only, ...more] = found
  const text = keyNameText(name)
  if (only === undefined) {
    const all = stores.flatMap(({ members }) => members[0]?.content.keys ?? []).map((key) => keyNameText(key))
    const shown = all.length === 0 ? 'there is no key at all' : `there are: ${all.join('; ')}`
    throw new SealgateError(
      'ERR_HSM_KEY_NOT_FOUND',
      `no key ${text} in ${target.hsms.map(({ name }) => name).join(', ')}; ${shown}`,
    )
  }
  if (more.length > 0) {
    const tokens = new Set(found.map(({ store }) => store.members[0]?.hsm.name ?? ''))
    throw usage(
      tokens.size > 1
        ? `${text} is a key of ${[...tokens].join(' and ')}: say in which it is to be destroyed (--hsm NAME)`
        : `${found.length} keys are called ${text}: ${found.map(({ key }) => keyNameText(key)).join('; ')}; give --label and --id`,
    )
  }
  return only
}

function isCalled(key: TokenKey, { label, id }: KeyName): boolean {
  return (label === null || label === key.label) && (id === null || id === key.id)
}

async function refuseUsed(
  { inventory }: Target,
  store: Store,
  key: TokenKey,
  folder: string | undefined,
): Promise<void> {
  if (inventory === undefined) return
  const possible = usesOf(inventory, key, new Set(inventory.hsms.map(({ name }) => name)))
  const members = new Set(possible.flatMap((use) => use.key.hsms))
  const sharing = await membersOf(
    store,
    inventory.hsms.filter(({ name }) => members.has(name)),
  )
  const uses = usesOf(inventory, key, sharing)
  if (uses.length > 0) {
    const places = uses
      .map(({ place, chain }) => (chain === undefined ? place : `${place} (${chain})`))
      .join(', ')
    throw new SealgateError(
      'ERR_KEYS_IN_USE',
      `${inventory.file} uses the key ${keyNameText(key)}: ${places}; take it out there first, or give the certificate a new key (sealgate keys rotate)`,
    )
  }
  const [rotation] = rotationsThatNeed(inventory.file, key, folder)
  if (rotation !== undefined) {
    throw new SealgateError(
      'ERR_KEYS_IN_USE',
      `a rotation needs the key ${keyNameText(key)}: ${rotation}; end it first (sealgate keys rotate, with --retire or --abort)`,
    )
  }
}

/**
 * Which of them reach this store: also over another module, or by other words. One that cannot be asked counts: better refused
 * once too often.
 *
 * @throws {SealgateError} `ERR_HSM_PIN`: the checkpoint that follows might try that PIN again.
 */
async function membersOf(store: Store, hsms: readonly HsmOptions[]): Promise<ReadonlySet<string>> {
  const known = new Set(store.members.map(({ hsm }) => hsm.name))
  const names = new Set<string>()
  for (const hsm of hsms) {
    if (known.has(hsm.name) || (await showsToken(hsm, store.token))) names.add(hsm.name)
  }
  return names
}

async function showsToken(hsm: HsmOptions, token: TokenFacts): Promise<boolean> {
  try {
    return isSameToken((await readToken(hsm)).token, token)
  } catch (error) {
    if (error instanceof SealgateError && error.code === 'ERR_HSM_PIN') throw error
    return true
  }
}

async function refuseUnconfirmed(key: TokenKey, store: Store, confirm: string | undefined): Promise<void> {
  const name = key.label === '' ? key.id : key.label
  const typed =
    confirm ??
    (await ask(
      `This destroys the ${key.type} key "${name}" in token "${store.token.label}" for ever. Its label once more: `,
    ))
  if (typed === undefined)
    throw usage(`nobody is there to be asked: confirm with --confirm ${JSON.stringify(name)}`)
  if (typed !== name) throw usage(`"${typed}" is not "${name}": nothing was destroyed`)
}

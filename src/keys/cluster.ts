/** Which members show one and the same key store, and what to do where they do not. */

import { setTimeout as delay } from 'node:timers/promises'

import { HsmError, SealgateError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import type { GenerateArgs } from './generate-job.ts'
import { destroyKey, generateKey, type KeyOnToken, readToken, type TokenContent } from './jobs.ts'
import { exactName, keyNameText, type TokenFacts } from './key-facts.ts'

export interface Store {
  readonly token: TokenFacts
  readonly members: readonly { readonly hsm: HsmOptions; readonly content: TokenContent }[]
}

/**
 * Members by the token that they show.
 *
 * The first one alone: a PIN that is wrong is not tried by all of them at once. Then the others together, as a proxy has them.
 */
export async function readStores(hsms: readonly HsmOptions[]): Promise<readonly Store[]> {
  const [first, ...rest] = hsms
  if (first === undefined) return []
  const contents = [await readToken(first), ...(await Promise.all(rest.map(readToken)))]
  const stores: { token: TokenFacts; members: Store['members'][number][] }[] = []
  for (const [index, hsm] of hsms.entries()) {
    const content = contents[index]
    if (content === undefined) continue
    const store = stores.find(({ token }) => isSameToken(token, content.token))
    if (store === undefined) stores.push({ token: content.token, members: [{ hsm, content }] })
    else store.members.push({ hsm, content })
  }
  return stores
}

export function isSameToken(one: TokenFacts, other: TokenFacts): boolean {
  const facts = ({ manufacturer, model, serial, label }: TokenFacts): string =>
    JSON.stringify([manufacturer, model, serial, label])
  return facts(one) === facts(other)
}

/**
 * Generates the key once, in the store that all these members share, and waits until each of them shows it.
 *
 * @throws {SealgateError} `ERR_USAGE` when they are separate tokens: no key that cannot leave one can be in two.
 */
export async function generateInCluster(
  hsms: readonly HsmOptions[],
  args: GenerateArgs,
): Promise<KeyOnToken> {
  const [only, ...more] = hsms
  if (only !== undefined && more.length === 0) return generateAlone(only, args)
  const [store, ...others] = await readStores(hsms)
  if (others.length > 0 || store === undefined)
    throw separateTokens(store === undefined ? [] : [store, ...others])
  const [first, ...rest] = store.members
  if (first === undefined) throw new SealgateError('ERR_USAGE', 'there is no HSM to generate a key in')
  const made = await generateAlone(first.hsm, args)
  await Promise.all(rest.map(({ hsm }) => untilSeen(hsm, made)))
  return made
}

/**
 * Two who generate at the same moment both find the name free. So it is looked again afterwards, in another process: SoftHSM
 * does not show a session what was made elsewhere while it made something itself. Of two who find each other none may
 * be left: then both try again.
 */
async function generateAlone(hsm: HsmOptions, args: GenerateArgs): Promise<KeyOnToken> {
  const made = await generateKey(hsm, args)
  const { keys } = await readToken(hsm)
  const { label, id, spki } = made.key
  const other = keys
    .filter((key) => key.label === label || key.id === id)
    .find((key) => key.label !== label || key.id !== id || key.spki !== spki)
  if (other === undefined) return made
  await destroyKey(hsm, exactName(made.key))
  throw new SealgateError(
    'ERR_KEYS_EXISTS',
    `somebody else has made ${keyNameText(other)} on token "${made.token.label}" at the same moment, and the one made here was destroyed again: see sealgate keys list`,
  )
}

/**
 * Asks members in turn until one can; where none can, the last one's reason is told.
 *
 * A PIN that was refused is the end: the next member may be another way to the same token.
 */
export async function onFirst<T>(
  hsms: readonly HsmOptions[],
  act: (hsm: HsmOptions) => Promise<T>,
): Promise<T> {
  let failure: unknown = new SealgateError('ERR_USAGE', 'there is no HSM to ask')
  for (const hsm of hsms) {
    try {
      return await act(hsm)
    } catch (error) {
      if (!isOfHsm(error)) throw error
      failure = error
    }
  }
  throw failure
}

/** Also a module that crashed or hung: that is why there are several. */
function isOfHsm(error: unknown): boolean {
  if (!(error instanceof SealgateError)) return false
  if (error instanceof HsmError) return error.code !== 'ERR_HSM_PIN'
  return error.code === 'ERR_TOKEN_CRASHED' || error.code === 'ERR_TOKEN_TIMEOUT'
}

/** The members of a cluster tell each other; some take a few seconds. */
async function untilSeen(hsm: HsmOptions, { key }: KeyOnToken): Promise<void> {
  for (let tries = 0; tries < SEEN_TRIES; tries++) {
    if (tries > 0) await delay(SEEN_PAUSE_MS)
    const { keys } = await readToken(hsm)
    if (keys.some(({ id, spki }) => id === key.id && spki === key.spki)) return
  }
  throw new HsmError(
    'ERR_HSM_KEY_NOT_FOUND',
    `the key was generated, but hsm "${hsm.name}" does not show it: is that member in step with its cluster?`,
    { hsm: hsm.name },
  )
}

function separateTokens(stores: readonly Store[]): SealgateError {
  const lines = stores.map(({ token, members }) => {
    const names = members.map(({ hsm }) => `"${hsm.name}"`).join(', ')
    return `  ${names}: token "${token.label}", serial ${token.serial}`
  })
  const ways = new Set(stores.map(({ token }) => cloningWay(token)))
  return new SealgateError(
    'ERR_USAGE',
    `these HSMs are ${stores.length} separate tokens, and a key that cannot leave its token cannot be generated in several:\n${lines.join('\n')}\n` +
      `Generate it in one (--hsm NAME), then copy it as the vendor does: ${[...ways].join('; ')}.\n` +
      'Or give each HSM a key and a certificate of its own.',
  )
}

/** How a key that is not extractable comes into a second HSM of a vendor: encrypted, from HSM to HSM. */
export function cloningWay({ manufacturer, model }: TokenFacts): string {
  const text = `${manufacturer} ${model}`
  return (
    CLONING.find(([pattern]) => pattern.test(text))?.[1] ??
    'its cloning, backup or replication; see its manual'
  )
}

const CLONING: readonly (readonly [RegExp, string])[] = [
  [
    /safenet|gemalto|thales tct|luna/i,
    'Luna: both partitions with the same cloning domain, then `partition clone` in lunacm, or an HA group',
  ],
  [
    /cavium|cloudhsm|marvell/i,
    'CloudHSM: HSMs of one cluster share their keys; to another cluster by a backup of the whole cluster',
  ],
  [
    /ncipher|nshield|entrust/i,
    'nShield: the same Security World, and its key files in /opt/nfast/kmdata/local',
  ],
  [/yubi/i, 'YubiHSM: `yubihsm-manager` or export under a wrap key that both devices have'],
  [/nitro/i, 'NetHSM: an encrypted backup, restored in the other one'],
  [/utimaco/i, 'Utimaco: the same master backup key, then backup and restore with csadm or p11tool2'],
  [/softhsm/i, 'SoftHSM: it has none; for a trial with several members, let them share one token folder'],
]

const SEEN_TRIES = 6
const SEEN_PAUSE_MS = 1000

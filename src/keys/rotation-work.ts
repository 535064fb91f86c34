/** What the steps of a rotation have in common. */

import type { KeyInventory } from '../config/key-inventory.ts'
import { SealgateError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { readStores, type Store } from './cluster.ts'
import type { Journal } from './journal.ts'
import { keyNameText, type TokenKey } from './key-facts.ts'
import type { Rotation } from './rotation-state.ts'

export interface RotationInput {
  /** The certificate, when it has arrived. */
  readonly chain: string | undefined
  readonly fewerNames: boolean
  /** Do not change the configuration: show what to change. */
  readonly print: boolean
  /** A proxy to send HUP to. */
  readonly pid: number | undefined
  /** Somebody has seen that the new certificate is in force, where there is no admin address to ask. */
  readonly inForce: boolean
  /** Destroy the old key, if its time has come; `keep`: end without that. */
  readonly retire: 'destroy' | 'keep' | undefined
  /** Do not wait for the end of the overlap. */
  readonly early: boolean
  /** Asked before a key is destroyed; throws if the answer is no. */
  confirm(label: string): Promise<void>
}

export interface RotationWork {
  readonly inventory: KeyInventory
  readonly journal: Journal
  /** Where the state is. */
  readonly file: string
  readonly input: RotationInput
  /** Tells what was done. */
  say(text: string): void
}

/** What a step has come to: a wait for somebody, or a state to write down. */
export type Next = { readonly waitsFor: string } | { readonly rotation: Rotation; readonly ended?: true }
export type Step = (rotation: Rotation, work: RotationWork) => Promise<Next>

export function membersOf({ hsms }: Rotation, inventory: KeyInventory): readonly HsmOptions[] {
  const members = inventory.hsms.filter(({ name }) => hsms.includes(name))
  if (members.length === hsms.length) return members
  throw new SealgateError(
    'ERR_KEYS_ROTATION',
    `the rotation is for ${hsms.join(', ')}, and ${inventory.file} no longer has all of them`,
  )
}

/** Asks all members. @param otherwise what to do when it cannot be said; see `keyAmong`. */
export async function find(
  members: readonly HsmOptions[],
  name: Pick<TokenKey, 'label' | 'id' | 'spki'>,
  otherwise: string,
): Promise<TokenKey | undefined> {
  return keyAmong(await readStores(members), name, otherwise)
}

/**
 * In the first store that shows it. Names need not be unique: where the public key is known on both sides, it decides.
 *
 * @returns undefined when it is in none. @throws {SealgateError} `ERR_KEYS_ROTATION` when there are too many keys to say so.
 */
export function keyAmong(
  stores: readonly Store[],
  { label, id, spki }: Pick<TokenKey, 'label' | 'id' | 'spki'>,
  otherwise: string,
): TokenKey | undefined {
  const members = stores.flatMap((store) => store.members)
  const named = members
    .flatMap(({ content }) => content.keys)
    .filter((key) => key.kind === 'private' && key.label === label && key.id === id)
  const found =
    named.find((key) => key.spki !== null && key.spki === spki) ??
    named.find((key) => key.spki === null || spki === null)
  // The rotation may remember what a token does not show.
  if (found !== undefined) return { ...found, spki: found.spki ?? spki }
  const unread = members.find(({ content }) => content.more)
  if (unread === undefined) return undefined
  throw new SealgateError(
    'ERR_KEYS_ROTATION',
    `hsm "${unread.hsm.name}" holds more keys than are read of it, and ${keyNameText({ label, id })} may be there unseen; nothing was changed: ${otherwise}`,
  )
}

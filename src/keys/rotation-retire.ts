/** The end: the old key goes, when its time has come and nothing needs it. */

import { SealgateError } from '../errors.ts'
import { onFirst } from './cluster.ts'
import { untilInForce } from './in-force.ts'
import { destroyKey, type KeyOnToken } from './jobs.ts'
import { keyFields } from './journal.ts'
import { exactName, keyNameText, type TokenKey } from './key-facts.ts'
import type { Rotation } from './rotation-state.ts'
import { find, membersOf, type Next, type RotationWork } from './rotation-work.ts'
import { usesOf } from './usage.ts'

/** Waits for the date and for the word; the last look at what uses the key is taken right before. */
export async function retire(rotation: Rotation, work: RotationWork): Promise<Next> {
  const { input, journal, inventory, say } = work
  const { key } = rotation.old
  const until = rotation.retireAfter ?? rotation.begunAt
  if (input.retire === 'keep') {
    await journal.record('rotate-end', { result: 'ok', kept: { label: key.label, id: key.id } })
    say(`ended: the old key ${keyNameText(key)} stays in the HSM`)
    return { rotation, ended: true }
  }
  if (Date.parse(until) > Date.now() && !input.early) {
    return {
      waitsFor: `the end of the overlap, ${until}: until then the old key ${keyNameText(key)} stays, for proxies that have not reloaded and for the way back; then run this again with --retire`,
    }
  }
  if (input.retire === undefined) {
    return {
      waitsFor: `your word: run this again with --retire to destroy the old key ${keyNameText(key)}, or with --keep-old-key`,
    }
  }
  const members = membersOf(rotation, inventory)
  const there = await find(
    members,
    key,
    'destroy it with the tool of the HSM, then end this with --keep-old-key',
  )
  if (there === undefined) say(`retired: the old key ${keyNameText(key)} is in the HSM no more`)
  else {
    await refuseStillUsed(rotation, work, there)
    await input.confirm(there.label === '' ? there.id : there.label)
    await journal.around(
      'rotate-retire',
      {},
      () => onFirst(members, (hsm): Promise<KeyOnToken> => destroyKey(hsm, exactName(there))),
      keyFields,
    )
    say(`retired: the old key ${keyNameText(key)} was destroyed`)
  }
  return { rotation, ended: true }
}

async function refuseStillUsed(
  rotation: Rotation,
  { inventory, input }: RotationWork,
  key: TokenKey,
): Promise<void> {
  const [use] = usesOf(inventory, key, new Set(inventory.hsms.map(({ name }) => name)))
  if (use !== undefined) {
    throw new SealgateError(
      'ERR_KEYS_IN_USE',
      `${inventory.file} uses the old key ${keyNameText(key)} in ${use.place}: give that one a new key first`,
    )
  }
  const { admin } = inventory
  if (admin === undefined || admin.port === 0 || input.inForce) return
  if ((await untilInForce(admin, { old: rotation.old.uri, new: rotation.new.uri }, 0)) === 'old') {
    throw new SealgateError(
      'ERR_KEYS_IN_USE',
      `the proxy on ${admin.host}:${admin.port} still serves with the old key ${keyNameText(key)}: reload it first`,
    )
  }
}

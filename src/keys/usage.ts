/** Which places of a configuration use a key. */

import type { KeyInventory, KeyUse } from '../config/key-inventory.ts'
import type { HsmOptions, KeySelector } from '../hsm/options.ts'
import type { TokenKey } from './key-facts.ts'

/**
 * What would be without its key if this one were gone. The public key decides where both sides show it: a certificate that is for
 * this key uses it, whatever its URI names by mistake or by an edit of something else, and one for another key does not.
 *
 * @param sharing names of all members that show the same token.
 */
export function usesOf(
  inventory: KeyInventory,
  key: TokenKey,
  sharing: ReadonlySet<string>,
): readonly KeyUse[] {
  return inventory.uses.filter(({ key: options, certificate }) => {
    const members = options.hsms.filter((name) => sharing.has(name))
    if (certificate !== undefined && key.spki !== null)
      return members.length > 0 && sameKey(certificate.spki, key.spki)
    return members.some((name) => selects(options.byHsm?.get(name) ?? options, key))
  })
}

/** Members that name the same token in the same words. What else may be the same only the tokens can tell (cluster.ts). */
export function membersInSameWords(hsms: readonly HsmOptions[], hsm: HsmOptions): ReadonlySet<string> {
  const words = ({ module, token, initialize, env }: HsmOptions): string =>
    JSON.stringify([module, token, initialize, env])
  return new Set(hsms.filter((other) => words(other) === words(hsm)).map(({ name }) => name))
}

/** Does a URI name this object? */
export function selects({ label, id, uri }: KeySelector, key: TokenKey): boolean {
  if (/[:;]type=secret-key(?:;|$)/.test(uri) !== (key.kind === 'secret')) return false
  const hasLabel = label === undefined || label === key.label
  return hasLabel && (id === undefined || Buffer.from(id).toString('hex') === key.id)
}

function sameKey(spki: Uint8Array, base64: string): boolean {
  return Buffer.from(base64, 'base64').equals(spki)
}

/** What single members of a key cannot do, and others can: as long as all are there nobody notices. */

import { type SignatureScheme, schemes } from '../signing.ts'

export interface AbilityGap {
  readonly hsm: string
  /** Schemes that at least one other member does with the key. */
  readonly missing: readonly SignatureScheme[]
  /** For people. */
  readonly message: string
}

/** @param members that are ready, with the code points of what each does with the key. */
export function abilityGaps(
  uri: string,
  members: readonly { readonly hsm: string; readonly schemes: ReadonlySet<number> }[],
): readonly AbilityGap[] {
  const together = schemes.filter(({ codePoint }) => members.some((member) => member.schemes.has(codePoint)))
  return members.flatMap(({ hsm, schemes: able }) => {
    const missing = together.filter(({ codePoint }) => !able.has(codePoint))
    if (missing.length === 0) return []
    const names = missing.map(({ name }) => name).join(' ')
    const message = `hsm "${hsm}": does no ${names} with ${uri}, other HSMs do: without those, clients that need it are refused`
    return { hsm, missing, message }
  })
}

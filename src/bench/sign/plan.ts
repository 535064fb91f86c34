/** What `bench sign` measures: which keys, through which HSMs, with which schemes, on which ladder. */

import { keySchemes } from '../../hsm/mechanism.ts'
import type { HsmOptions, KeyOptions, SigningOptions } from '../../hsm/options.ts'
import { keyFacts } from '../../hsm/public-key.ts'
import type { KeyType, SignatureSchemeName } from '../../signing.ts'

export interface BenchKey {
  readonly key: KeyOptions
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array
  readonly keyType: KeyType
}

export interface SignBenchPlan {
  readonly hsms: readonly HsmOptions[]
  readonly keys: readonly BenchKey[]
  readonly signing: SigningOptions
  /** undefined: all that key and token can do. */
  readonly schemes: ReadonlySet<SignatureSchemeName> | undefined
  /** undefined: 1, 2, 4, … up to the limit of the token, or until the knee is found. */
  readonly ladder: readonly number[] | undefined
  readonly paths: ReadonlySet<'pool' | 'raw'>
  readonly secondsPerStep: number
  readonly warmUpSeconds: number
}

/** HSMs that sign together: each by itself, and all. */
export interface Group {
  readonly hsms: readonly HsmOptions[]
  /** Those that every HSM of the group holds. */
  readonly keys: readonly BenchKey[]
}

/** Each HSM alone, then all together where a key is in more than one. */
export function groupsOf({ hsms, keys }: Pick<SignBenchPlan, 'hsms' | 'keys'>): readonly Group[] {
  const held = (group: readonly HsmOptions[]): Group => ({
    hsms: group,
    keys: keys.filter(({ key }) => group.every(({ name }) => key.hsms.includes(name))),
  })
  const together = hsms.length > 1 ? [held(hsms)] : []
  return [...hsms.map((hsm) => held([hsm])), ...together].filter((group) => group.keys.length > 0)
}

/** Without asking the tokens: what keys of these types can do at most. */
export function expectedSeries(plan: SignBenchPlan): number {
  const { schemes, paths } = plan
  return groupsOf(plan)
    .flatMap(({ hsms, keys }) => keys.map((key) => ({ alone: hsms.length === 1, key })))
    .map(({ alone, key: { spki } }) => {
      const count = keySchemes(keyFacts(spki)).filter(({ name }) => schemes?.has(name) ?? true).length
      return count * ((paths.has('pool') ? 1 : 0) + (paths.has('raw') && alone ? 1 : 0))
    })
    .reduce((sum, count) => sum + count, 0)
}

/** So many sessions are asked of a token that names no limit, or a greater one. */
export const MAX_SESSIONS = 256

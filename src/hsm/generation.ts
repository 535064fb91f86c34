/**
 * The members and keys of one state of the configuration.
 *
 * What a new state has unchanged is the same object in both: a member whose HSM and keys are as before goes on, host
 * process, sessions and all. A host is told its keys once and for all, so other keys mean another host beside it.
 */

import type { KeyPurpose } from './key-use.ts'
import type { Member } from './member.ts'
import type { WantedKey } from './member-keys.ts'
import type { HsmOptions, KeyOptions, SigningOptions } from './options.ts'
import type { Holder, PooledKey } from './pooled-key.ts'
import { keyFacts } from './public-key.ts'

/** A key of the configuration with what its certificate says of it. */
export interface CertificateKey {
  readonly key: KeyOptions
  /** DER SubjectPublicKeyInfo of the certificate. */
  readonly spki: Uint8Array
  /** `tls` unless said otherwise. */
  readonly purpose?: KeyPurpose
}

/** What of a configuration the signing side is made from. */
export interface SigningState {
  readonly hsms: readonly HsmOptions[]
  readonly keys: readonly CertificateKey[]
  readonly signing: SigningOptions
}

export interface Seat {
  readonly member: Member
  readonly hsm: HsmOptions
  /** What the host is told of its keys, as text, in its order. */
  readonly wanted: readonly string[]
}

export interface PlacedKey {
  readonly key: PooledKey
  /** Changes with everything that the hosts are told of it. */
  readonly identity: string
  readonly holders: readonly Holder[]
}

export interface GenerationParts {
  readonly member: (hsm: HsmOptions, keys: readonly WantedKey[]) => Member
  readonly key: (wanted: CertificateKey, holders: readonly Holder[]) => PooledKey
  /** A member that has given up, wholly or on a key, and may be replaced by one that tries again. */
  readonly spent: (seat: Seat) => boolean
}

export class Generation {
  readonly signing: SigningOptions
  /** By the HSM's name. */
  readonly seats: ReadonlyMap<string, Seat>
  /** In the order of the configuration; certificates with the same key have the same one. */
  readonly keys: readonly PlacedKey[]

  constructor(state: SigningState, parts: GenerationParts, before?: Generation) {
    this.signing = state.signing
    this.seats = new Map(state.hsms.map((hsm) => [hsm.name, seatFor(hsm, state, parts, before)]))
    const placed = new Map<string, PlacedKey>()
    this.keys = state.keys.map((wanted) => {
      const identity = identityOf(wanted)
      const known = placed.get(identity) ?? this.#place(wanted, identity, parts, before)
      placed.set(identity, known)
      return known
    })
  }

  get members(): readonly Member[] {
    return [...this.seats.values()].map(({ member }) => member)
  }

  /** Every key once. */
  get pooled(): readonly PooledKey[] {
    return [...new Set(this.keys.map(({ key }) => key))]
  }

  #place(
    wanted: CertificateKey,
    identity: string,
    parts: GenerationParts,
    before: Generation | undefined,
  ): PlacedKey {
    const holders = wanted.key.hsms.map((name): Holder => {
      const seat = this.seats.get(name)
      if (seat === undefined) throw new RangeError(`key ${wanted.key.uri} names an unknown HSM ${name}`)
      return { member: seat.member, key: seat.wanted.indexOf(messageText(wanted, name)) }
    })
    const old = before?.keys.find((placed) => placed.identity === identity)
    const asBefore =
      before !== undefined &&
      old?.holders.length === holders.length &&
      old.holders.every(
        ({ member, key }, index) => member === holders[index]?.member && key === holders[index].key,
      ) &&
      JSON.stringify(before.signing) === JSON.stringify(this.signing)
    return asBefore ? old : { key: parts.key(wanted, holders), identity, holders }
  }
}

function seatFor(
  hsm: HsmOptions,
  { keys }: SigningState,
  parts: GenerationParts,
  before: Generation | undefined,
): Seat {
  const held = keys.filter(({ key }) => key.hsms.includes(hsm.name))
  const byText = new Map(held.map((key) => [messageText(key, hsm.name), wantedKey(key, hsm.name)]))
  const old = before?.seats.get(hsm.name)
  const asBefore =
    old !== undefined &&
    JSON.stringify(old.hsm) === JSON.stringify(hsm) &&
    old.wanted.length === byText.size &&
    old.wanted.every((text) => byText.has(text))
  if (asBefore && !parts.spent(old)) return old
  return { member: parts.member(hsm, [...byText.values()]), hsm, wanted: [...byText.keys()] }
}

function wantedKey({ key, spki, purpose = 'tls' }: CertificateKey, hsm: string): WantedKey {
  const { uri, label, id } = key.byHsm?.get(hsm) ?? key
  return {
    spki,
    publicKey: keyFacts(spki).publicKey,
    message: {
      uri,
      label: label ?? null,
      idHex: id === undefined ? null : Buffer.from(id).toString('hex'),
      spki: Buffer.from(spki).toString('base64'),
      purpose,
    },
  }
}

function messageText(key: CertificateKey, hsm: string): string {
  return JSON.stringify(wantedKey(key, hsm).message)
}

function identityOf(wanted: CertificateKey): string {
  const { uri, hsms } = wanted.key
  return JSON.stringify([uri, hsms.map((name) => [name, messageText(wanted, name)])])
}

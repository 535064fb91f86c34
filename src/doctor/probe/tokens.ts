/** Slots, tokens and mechanisms. */

import {
  CK,
  type Handle,
  type Pkcs11Error,
  type Pkcs11Module,
  type TokenInfo,
} from '../../hsm/host/pkcs11.ts'
import type { HsmOptions } from '../../hsm/options.ts'
import type { TokenFact } from '../facts.ts'
import type { Teller } from './teller.ts'

export interface SlotWithToken {
  readonly handle: Handle
  readonly fact: TokenFact
}

/** Tells of all slots. @returns the tokens that answered, and what the others said. @throws {Pkcs11Error} when there is no list of slots. */
export function listTokens(
  module: Pkcs11Module,
  tell: Teller,
): { readonly tokens: readonly SlotWithToken[]; readonly silent: readonly Pkcs11Error[] } {
  const all = tell.attempt('all slots', () => module.slots()) ?? []
  const silent: Pkcs11Error[] = []
  const tokens = module.slotsWithToken().flatMap((handle): SlotWithToken[] => {
    const slot = slotNumber(handle)
    const info = tell.attempt(
      `slot ${slot}`,
      () => module.tokenInfo(handle),
      (error) => silent.push(error),
    )
    return info === undefined ? [] : [{ handle, fact: tokenFact(slot, info) }]
  })
  tell.fact({
    fact: 'slots',
    slots: Math.max(all.length, tokens.length),
    tokens: tokens.map(({ fact }) => fact),
  })
  return { tokens, silent }
}

/**
 * As a host chooses (hsm/host/token.ts).
 *
 * @param wanted undefined: the only one that is initialised. @returns undefined when there is none, or several.
 */
export function chooseToken(
  tokens: readonly SlotWithToken[],
  wanted: HsmOptions['token'] | undefined,
): SlotWithToken | undefined {
  if (wanted === undefined) {
    const [only, ...others] = tokens.filter(({ fact }) => (fact.flags & CK.CKF_TOKEN_INITIALIZED) !== 0)
    return others.length === 0 ? only : undefined
  }
  return tokens.find(({ fact }) => {
    if ('label' in wanted) return fact.label === wanted.label
    return 'serial' in wanted ? fact.serial === wanted.serial : fact.slot === wanted.slot
  })
}

/** Tells what each mechanism that TLS could use does, and returns all there are. */
export function probeMechanisms(module: Pkcs11Module, slot: Handle, tell: Teller): ReadonlySet<number> {
  const types = tell.attempt('', () => module.mechanisms(slot)) ?? new Set<number>()
  const list = [...types]
    .filter((type) => TLS_MECHANISMS.has(type))
    .map((type) => {
      const info = tell.attempt(`mechanism 0x${type.toString(16)}`, () => module.mechanismInfo(slot, type))
      if (info === undefined) return { type, signs: null, minBits: null, maxBits: null }
      return {
        type,
        signs: (info.flags & CKF_SIGN) !== 0,
        minBits: info.minKeySize,
        maxBits: info.maxKeySize,
      }
    })
  tell.fact({ fact: 'mechanisms', list })
  return types
}

/** A CK_ULONG in the machine's own layout; all supported machines are little-endian. */
function slotNumber(handle: Handle): number {
  return handle.length === 8 ? Number(handle.readBigUInt64LE()) : handle.readUInt32LE()
}

function tokenFact(slot: number, info: TokenInfo): TokenFact {
  return {
    slot,
    label: info.label.trimEnd(),
    serial: info.serialNumber.trimEnd(),
    manufacturer: info.manufacturerID.trimEnd(),
    model: info.model.trimEnd(),
    flags: info.flags,
    maxSessions: limit(info.maxSessionCount),
    maxReadWriteSessions: limit(info.maxRwSessionCount),
    clockMs: (info.flags & CKF_CLOCK_ON_TOKEN) === 0 ? null : clock(info.utcTime),
  }
}

/** 0 is CK_EFFECTIVELY_INFINITE, all ones CK_UNAVAILABLE_INFORMATION. */
function limit(count: number): number | null {
  return count > 0 && count < 0xffff_ffff ? count : null
}

/** YYYYMMDDhhmmssxx, the last two reserved. */
function clock(utc: string): number | null {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)/.exec(utc) ?? []
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(time) ? null : time
}

/** CKM_RSA_PKCS, CKM_RSA_PKCS_PSS, CKM_ECDSA, CKM_EDDSA: those of hsm/mechanism.ts. */
const TLS_MECHANISMS: ReadonlySet<number> = new Set([0x0001, 0x000d, 0x1041, 0x1057])
// PKCS#11 v3.1, CK_MECHANISM_INFO and CK_TOKEN_INFO.
const CKF_SIGN = 0x800
const CKF_CLOCK_ON_TOKEN = 0x40

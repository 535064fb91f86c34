/** Which TLS signature schemes come of the token's mechanisms, key type by key type. */

import { MECHANISMS, offeredSchemes } from '../../hsm/mechanism.ts'
import type { Curve, KeyType, SignatureScheme } from '../../signing.ts'
import type { Examination } from '../examine.ts'
import type { FactOf } from '../facts.ts'
import type { Findings } from '../finding.ts'

/** @param used key types of the keys at hand: what the others lack is of no consequence. */
export function mechanismFindings(
  examination: Examination,
  used: ReadonlySet<KeyType>,
  findings: Findings,
): void {
  const mechanisms = examination.one('mechanisms')
  if (mechanisms === undefined || examination.failure('C_GetMechanismList') !== undefined) return
  const signing = new Set(mechanisms.list.filter(({ signs }) => signs !== false).map(({ type }) => type))
  for (const kind of KINDS) {
    const schemes = offeredSchemes(kind, signing)
    const text = schemes.map(({ name }) => name).join(' ')
    if (schemes.length > 0) findings.ok('token.schemes', `${kind.name}: ${text}`)
    lackFindings(kind, schemes, used.has(kind.keyType), findings)
  }
  silentFindings(mechanisms, findings)
}

function lackFindings(
  { keyType, name }: Kind,
  schemes: readonly SignatureScheme[],
  used: boolean,
  findings: Findings,
): void {
  if (schemes.length === 0) {
    const text = `${name}: the token has no mechanism that signs TLS handshakes with such keys`
    if (used) findings.error('token.no-scheme', text, 'use a key of a type that the token can sign with')
    else findings.note('token.no-scheme', text)
    return
  }
  if (keyType !== 'rsa' || schemes.some(({ tls13 }) => tls13)) return
  const text = 'RSA: no RSA-PSS (CKM_RSA_PKCS_PSS), so such certificates are served in TLS 1.2 only'
  if (used)
    findings.warning(
      'token.no-pss',
      text,
      'use an EC key, or allow the mechanism in the HSM’s policy or firmware',
    )
  else findings.note('token.no-pss', text, 'use EC keys')
}

/** Listed, but not for signing: offered by mistake, or forbidden by a policy. */
function silentFindings({ list }: FactOf<'mechanisms'>, findings: Findings): void {
  for (const { type, signs } of list) {
    if (signs !== false) continue
    const name = Object.values(MECHANISMS).find(({ mechanism }) => mechanism === type)?.name
    findings.note(
      'token.mechanism-does-not-sign',
      `${name} is listed, but not for signing (no CKF_SIGN)`,
      'the HSM’s policy, or its FIPS mode, may forbid it',
    )
  }
}

interface Kind {
  readonly name: string
  readonly keyType: KeyType
  readonly curve: Curve | undefined
}

const KINDS: readonly Kind[] = [
  { name: 'RSA', keyType: 'rsa', curve: undefined },
  { name: 'EC P-256', keyType: 'ec', curve: 'P-256' },
  { name: 'EC P-384', keyType: 'ec', curve: 'P-384' },
  { name: 'EC P-521', keyType: 'ec', curve: 'P-521' },
  { name: 'Ed25519', keyType: 'ed25519', curve: undefined },
]

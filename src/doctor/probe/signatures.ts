/** Test signatures: one with each scheme, then a few more for the time they take. */

import { isRawEcdsaLength, writeEcdsaSignature } from '../../hsm/host/ecdsa-signature.ts'
import { inputOf, mechanismOf } from '../../hsm/host/operation.ts'
import type { Handle } from '../../hsm/host/pkcs11.ts'
import type { Token } from '../../hsm/host/token.ts'
import { MECHANISMS } from '../../hsm/mechanism.ts'
import { testMessage } from '../../hsm/test-message.ts'
import { type SignatureScheme, schemeByCodePoint } from '../../signing.ts'
import type { ProbedKey } from './keys.ts'
import type { Authenticate } from './login.ts'
import type { Teller } from './teller.ts'

/** @param authenticate undefined: nobody is logged in, and keys that ask each time are left alone. */
export function measure(
  token: Token,
  key: ProbedKey,
  authenticate: Authenticate | undefined,
  tell: Teller,
): void {
  if (key.alwaysAuthenticate && authenticate === undefined) return
  const login = key.alwaysAuthenticate ? authenticate : undefined
  const schemes = key.schemes.flatMap((codePoint) => schemeByCodePoint(codePoint) ?? [])
  const working = schemes.filter((scheme) => {
    const about = `${key.name}, ${scheme.name}`
    return tell.attempt(about, () => trySign(token, key, scheme, login, tell)) === true
  })
  const [first] = working
  if (first === undefined) return
  const about = `${key.name}, ${first.name}, measuring its time`
  tell.attempt(about, () => tellLatency(token, key, first, login, tell))
}

function trySign(
  token: Token,
  key: ProbedKey,
  scheme: SignatureScheme,
  login: Authenticate | undefined,
  tell: Teller,
): true {
  const { raw, milliseconds } = inSession(token, tell, (session) => {
    const startedMs = performance.now()
    return { raw: signOnce(token, session, key, scheme, login), milliseconds: performance.now() - startedMs }
  })
  const signature = wireForm(scheme, raw).toString('base64')
  tell.fact({ fact: 'signature', key: key.name, scheme: scheme.codePoint, signature, milliseconds })
  return true
}

function tellLatency(
  token: Token,
  key: ProbedKey,
  scheme: SignatureScheme,
  login: Authenticate | undefined,
  tell: Teller,
): void {
  const milliseconds = inSession(token, tell, (session) =>
    tell.silently('C_Sign', () => {
      const times: number[] = []
      const endMs = performance.now() + MEASURE_MS
      while (times.length < MEASURED && performance.now() < endMs) {
        const startedMs = performance.now()
        signOnce(token, session, key, scheme, login)
        times.push(performance.now() - startedMs)
      }
      return times
    }),
  )
  tell.fact({ fact: 'latency', key: key.name, scheme: scheme.codePoint, milliseconds })
}

/** A fresh one each time: after an error nobody knows what state a session is in. */
function inSession<T>({ module, slot }: Token, tell: Teller, use: (session: Handle) => T): T {
  const session = module.openSession(slot)
  try {
    return use(session)
  } finally {
    tell.attempt('', () => module.closeSession(session))
  }
}

function signOnce(
  { module }: Token,
  session: Handle,
  key: ProbedKey,
  scheme: SignatureScheme,
  login: Authenticate | undefined,
): Buffer {
  const output = Buffer.alloc(MAX_SIGNATURE_BYTES)
  module.signInit(session, mechanismOf(scheme), key.handle)
  login?.(session)
  const bytes = module.sign(session, inputOf(scheme, testMessage(scheme, key.purpose)), output)
  return output.subarray(0, bytes)
}

/** What TLS would be given; whatever is no signature at all stays as it is, and does not verify. */
function wireForm(scheme: SignatureScheme, raw: Buffer): Buffer {
  if (MECHANISMS[scheme.name].output !== 'raw-rs' || !isRawEcdsaLength(raw.length)) return raw
  const der = Buffer.alloc(raw.length + 9)
  return der.subarray(0, writeEcdsaSignature(raw, der))
}

/** Enough for a p99 that is the second worst, over in a few seconds with a slow HSM too. */
const MEASURED = 100
const MEASURE_MS = 2000
// RSA-16384, the largest that PKCS#11 modules are known to do.
const MAX_SIGNATURE_BYTES = 2048

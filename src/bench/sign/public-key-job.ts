/** The job that reads a public key from a token, for who has no certificate at hand. */

import { createPublicKey } from 'node:crypto'

import { z } from 'zod'
import { SealgateError } from '../../errors.ts'
import { CK, type Handle, type Template } from '../../hsm/host/pkcs11.ts'
import type { JobToken, TokenJob } from '../../token/job.ts'

const publicKeyArgsSchema = z.object({
  uri: z.string(),
  label: z.string().nullable(),
  idHex: z.string().nullable(),
})
export type PublicKeyArgs = z.infer<typeof publicKeyArgsSchema>

/** Returns the DER SubjectPublicKeyInfo in Base64. */
export const job: TokenJob = {
  opens: 'logged-in',
  run(token, context) {
    const { uri, label, idHex } = publicKeyArgsSchema.parse(context.args)
    const selection: Template = [
      ...(idHex === null ? [] : [{ type: CK.CKA_ID, value: Buffer.from(idHex, 'hex') }]),
      ...(label === null ? [] : [{ type: CK.CKA_LABEL, value: label }]),
    ]
    const [privateKey, second] = find(token, CK.CKO_PRIVATE_KEY, selection)
    if (privateKey === undefined) throw notFound(token, uri)
    if (second !== undefined) throw ambiguous(uri)
    const publicKey = publicHalf(token, privateKey, selection)
    // An RSA private key object has its public half itself; an EC key's point is in the public object.
    const spki = spkiOf(token, [publicKey, privateKey])
    if (spki === undefined) throw noPublicHalf(uri)
    return spki.toString('base64')
  },
}

/** The public object with the same id; of several, or without one, the one that the URI names. */
function publicHalf(token: JobToken, privateKey: Handle, selection: Template): Handle | undefined {
  const id = token.module.attribute(token.session, privateKey, CK.CKA_ID)
  if (id !== undefined) {
    const [only, other] = find(token, CK.CKO_PUBLIC_KEY, [{ type: CK.CKA_ID, value: id }])
    if (other === undefined) return only
  }
  const [named, other] = find(token, CK.CKO_PUBLIC_KEY, selection)
  return other === undefined ? named : undefined
}

function find(token: JobToken, objectClass: number, selection: Template): readonly Handle[] {
  return token.module.findObjects(
    token.session,
    [{ type: CK.CKA_CLASS, value: objectClass }, ...selection],
    2,
  )
}

function spkiOf(token: JobToken, objects: readonly (Handle | undefined)[]): Buffer | undefined {
  const read = (type: number): Buffer | undefined => {
    for (const object of objects) {
      const value = object && token.module.attribute(token.session, object, type)
      if (value !== undefined) return value
    }
    return undefined
  }
  const modulus = read(CK.CKA_MODULUS)
  if (modulus !== undefined) {
    const n = modulus.toString('base64url')
    const e = (read(CKA_PUBLIC_EXPONENT) ?? Buffer.from([1, 0, 1])).toString('base64url')
    return exported({ kty: 'RSA', n, e })
  }
  const point = read(CK.CKA_EC_POINT)
  return point && pointKey(unwrapped(point))
}

/** Uncompressed: 04 ‖ x ‖ y; of Ed25519 the 32 bytes of RFC 8032. */
function pointKey(point: Buffer): Buffer | undefined {
  if (point.length === ED25519_BYTES) {
    return exported({ kty: 'OKP', crv: 'Ed25519', x: point.toString('base64url') })
  }
  const half = (point.length - 1) / 2
  const crv = CURVES.get(half)
  if (point[0] !== UNCOMPRESSED || crv === undefined) return undefined
  const x = point.subarray(1, 1 + half).toString('base64url')
  const y = point.subarray(1 + half).toString('base64url')
  return exported({ kty: 'EC', crv, x, y })
}

/** CKA_EC_POINT is an OCTET STRING around the point; some modules give the point alone. */
function unwrapped(point: Buffer): Buffer {
  for (const headerBytes of [2, 3]) {
    const length = point.length - headerBytes
    const long = headerBytes === 3
    if (point[0] === OCTET_STRING && point[long ? 2 : 1] === length && (!long || point[1] === 0x81)) {
      return point.subarray(headerBytes)
    }
  }
  return point
}

function exported(jwk: Record<string, string>): Buffer {
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ format: 'der', type: 'spki' })
}

function notFound({ label }: JobToken, uri: string): SealgateError {
  return new SealgateError(
    'ERR_USAGE',
    `--key ${uri}: there is no such private key on token "${label}"; its objects: pkcs11-tool --module MODULE --login -O`,
  )
}

function ambiguous(uri: string): SealgateError {
  return new SealgateError('ERR_USAGE', `--key ${uri} fits more than one private key: give object and id`)
}

function noPublicHalf(uri: string): SealgateError {
  return new SealgateError(
    'ERR_USAGE',
    `the token does not show the public half of ${uri}, which the signatures are verified with: give --certificate FILE`,
  )
}

const CKA_PUBLIC_EXPONENT = 0x122
const OCTET_STRING = 0x04
const UNCOMPRESSED = 0x04
const ED25519_BYTES = 32
const CURVES: ReadonlyMap<number, string> = new Map([
  [32, 'P-256'],
  [48, 'P-384'],
  [66, 'P-521'],
])

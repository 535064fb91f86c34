/** The public half of a private key, as far as the token shows it. */

import { createPublicKey } from 'node:crypto'

import { CK, type Handle } from '../../hsm/host/pkcs11.ts'
import type { Token } from '../../hsm/host/token.ts'

/** @returns DER SubjectPublicKeyInfo; undefined when the token shows too little of it, or OpenSSL does not know the kind. */
export function readPublicKey(token: Token, privateKey: Handle): Buffer | undefined {
  const read = (object: Handle, type: number) => token.module.attribute(token.session, object, type)
  const objects = [privateKey, ...publicHalf(token, privateKey)]
  const find = (type: number) =>
    objects.map((object) => read(object, type)).find((value) => value !== undefined)
  const modulus = find(CK.CKA_MODULUS)
  if (modulus !== undefined) return rsaKey(modulus, find(CKA_PUBLIC_EXPONENT))
  const [curve, point] = [find(CKA_EC_PARAMS), find(CK.CKA_EC_POINT)]
  return curve === undefined || point === undefined ? undefined : pointKey(curve, bare(point))
}

/** The public key object with the same CKA_ID, if there is exactly one. */
function publicHalf(token: Token, privateKey: Handle): readonly Handle[] {
  const id = token.module.attribute(token.session, privateKey, CK.CKA_ID)
  if (id === undefined) return []
  const found = token.module.findObjects(
    token.session,
    [
      { type: CK.CKA_CLASS, value: CK.CKO_PUBLIC_KEY },
      { type: CK.CKA_ID, value: id },
    ],
    2,
  )
  return found.length === 1 ? found : []
}

function rsaKey(modulus: Buffer, exponent: Buffer | undefined): Buffer | undefined {
  if (exponent === undefined) return undefined
  const encode = (number: Buffer) =>
    number.subarray(number.findIndex((byte) => byte !== 0)).toString('base64url')
  return spki({ kty: 'RSA', n: encode(modulus), e: encode(exponent) })
}

function pointKey(parameters: Buffer, point: Buffer): Buffer | undefined {
  const crv = CURVES.get(parameters.toString('hex'))
  if (crv === undefined) return undefined
  if (crv === 'Ed25519') return spki({ kty: 'OKP', crv, x: point.toString('base64url') })
  const half = (point.length - 1) / 2
  const [x, y] = [point.subarray(1, 1 + half), point.subarray(1 + half)]
  return spki({ kty: 'EC', crv, x: x.toString('base64url'), y: y.toString('base64url') })
}

function spki(key: import('node:crypto').JsonWebKey): Buffer | undefined {
  try {
    return createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'der' })
  } catch {
    return undefined
  }
}

/** CKA_EC_POINT is a DER OCTET STRING around the point; some modules leave the header out. */
function bare(point: Buffer): Buffer {
  const [tag, length = 0] = point
  if (tag !== 0x04) return point
  if (length === 0x81 && point[2] === point.length - 3) return point.subarray(3)
  return length === point.length - 2 ? point.subarray(2) : point
}

const CKA_PUBLIC_EXPONENT = 0x122
const CKA_EC_PARAMS = 0x180
/** DER of CKA_EC_PARAMS: an object identifier, for Ed25519 also a PrintableString. */
const CURVES: ReadonlyMap<string, string> = new Map([
  ['06082a8648ce3d030107', 'P-256'],
  ['06052b81040022', 'P-384'],
  ['06052b81040023', 'P-521'],
  ['06032b6570', 'Ed25519'],
  ['130c656477617264733235353139', 'Ed25519'],
])

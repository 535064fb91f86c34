/** What a certificate says of its subject, so that the next one can be asked for in the same words. */

import forge from 'node-forge'

import { decodeAlternativeNames } from './alternative-names.ts'
import { contentOf, elements } from './der.ts'
import { decodeDistinguishedName } from './distinguished-name.ts'
import type { Subject } from './to-be-signed.ts'

/**
 * @param certificate DER.
 * @returns `undefined` in the place of what cannot be written again in the same words.
 */
export function subjectOf(certificate: Uint8Array): {
  readonly [name in keyof Subject]: Subject[name] | undefined
} {
  const [tbs = EMPTY] = elements(certificate)
  // version [0] is there in every certificate that has extensions (RFC 5280 §4.1.2.1).
  const fields = elements(tbs).filter((field) => field[0] !== 0xa0)
  const [, , , , subject = EMPTY] = fields
  const extensions = fields.find((field) => field[0] === 0xa3)
  return {
    subject: decodeDistinguishedName(subject, oidText),
    names: extensions === undefined ? [] : alternativeNamesOf(extensions),
  }
}

function alternativeNamesOf(extensions: Buffer): Subject['names'] | undefined {
  const [list = EMPTY] = elements(extensions)
  for (const extension of elements(list)) {
    const parts = elements(extension)
    const [id = EMPTY] = parts
    const value = parts.at(-1)
    if (value !== undefined && oidText(contentOf(id)) === SUBJECT_ALT_NAME)
      return decodeAlternativeNames(contentOf(value))
  }
  return []
}

function oidText(bytes: Buffer): string {
  return forge.asn1.derToOid(forge.util.createBuffer(bytes.toString('binary')))
}

const SUBJECT_ALT_NAME = '2.5.29.17'
const EMPTY = Buffer.from([0x30, 0])

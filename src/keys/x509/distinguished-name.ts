/** Who a certificate is for, as a name: `CN=www.example.com,O=Example GmbH,C=DE` (RFC 4514), and as DER. */

import { type Asn1, contentOf, elements, oid, printableString, sequence, setOf, utf8String } from './der.ts'

/** In the order of the certificate, which is the reverse of RFC 4514's text. */
export type DistinguishedName = readonly NameAttribute[]

export interface NameAttribute {
  /** Dotted. */
  readonly type: string
  readonly value: string
}

/** @throws {RangeError} in words for the operator. */
export function parseDistinguishedName(text: string): DistinguishedName {
  const parts = text.trim() === '' ? [] : text.split(/(?<!\\),/)
  return parts.map(parsePart).toReversed()
}

/** RFC 4514, the most specific attribute first. */
export function distinguishedNameText(name: DistinguishedName): string {
  const part = ({ type, value }: NameAttribute): string =>
    `${SHORT_NAMES.get(type) ?? type}=${value.replace(/[\\,+"<>;=]/g, '\\$&')}`
  return name.map(part).toReversed().join(',')
}

export function encodeDistinguishedName(name: DistinguishedName): Asn1 {
  return sequence(
    ...name.map(({ type, value }) =>
      // X.520 allows no other kind of text for a country.
      setOf(sequence(oid(type), type === COUNTRY ? printableString(value) : utf8String(value))),
    ),
  )
}

/**
 * @param der a Name (RFC 5280 §4.1.2.4).
 * @returns undefined when it holds what cannot be written again in the same words: several attributes in one place, or a text of an old kind.
 */
export function decodeDistinguishedName(
  der: Uint8Array,
  oidText: (der: Buffer) => string,
): DistinguishedName | undefined {
  const name: NameAttribute[] = []
  for (const place of elements(der)) {
    const [attribute, ...more] = elements(place)
    if (attribute === undefined || more.length > 0) return undefined
    const [type, value] = elements(attribute)
    if (type === undefined || value === undefined || !TEXT_TAGS.has(value[0] ?? 0)) return undefined
    name.push({ type: oidText(contentOf(type)), value: contentOf(value).toString('utf8') })
  }
  return name
}

function parsePart(part: string): NameAttribute {
  const [, name = '', escaped = ''] =
    /^\s*([A-Za-z][A-Za-z0-9]*|\d+(?:\.\d+)+)\s*=\s*(.*?)\s*$/s.exec(part) ?? []
  const type = /^\d/.test(name) ? name : ATTRIBUTES.get(name.toUpperCase())
  const value = escaped.replace(/\\(.)/gs, '$1')
  if (type === undefined || value === '') {
    const known = [...ATTRIBUTES.keys()].join(', ')
    throw new RangeError(
      `"${part.trim()}" is no part of a name: write it like CN=www.example.com,O=Example GmbH,C=DE (known: ${known}; a comma within a value is \\,)`,
    )
  }
  if (type === COUNTRY && !/^[A-Z]{2}$/.test(value)) {
    throw new RangeError(`"${value}" is no country: C is the two capital letters of ISO 3166, e.g. C=DE`)
  }
  if (type === COMMON_NAME && value.length > MAX_COMMON_NAME) {
    throw new RangeError(
      `the common name has ${value.length} characters: ${MAX_COMMON_NAME} at most (RFC 5280); leave it out, clients read the alternative names`,
    )
  }
  return { type, value }
}

const COMMON_NAME = '2.5.4.3'
const COUNTRY = '2.5.4.6'
const MAX_COMMON_NAME = 64
const ATTRIBUTES: ReadonlyMap<string, string> = new Map([
  ['CN', COMMON_NAME],
  ['O', '2.5.4.10'],
  ['OU', '2.5.4.11'],
  ['L', '2.5.4.7'],
  ['ST', '2.5.4.8'],
  ['C', COUNTRY],
  ['SERIALNUMBER', '2.5.4.5'],
  ['DC', '0.9.2342.19200300.100.1.25'],
])
const SHORT_NAMES: ReadonlyMap<string, string> = new Map([...ATTRIBUTES].map(([name, type]) => [type, name]))
/** UTF8String, PrintableString, IA5String. */
const TEXT_TAGS: ReadonlySet<number> = new Set([0x0c, 0x13, 0x16])

/**
 * The dates of a certificate revocation list (RFC 5280 §5.1), which nothing in Node reads. All else is left to
 * OpenSSL; what is checked here is that the structure is whole, so that a cut-off file is found at once.
 */

export interface RevocationListDates {
  readonly thisUpdateMs: number
  /** RFC 5280 demands it, X.509 does not; undefined: the list does not end. */
  readonly nextUpdateMs: number | undefined
}

/** @returns undefined for what is no revocation list, or has something before or after it. Never throws. */
export function readRevocationListDates(der: Uint8Array): RevocationListDates | undefined {
  const outer = readElement(der)
  if (outer?.tag !== SEQUENCE || outer.rest.length > 0) return undefined
  // CertificateList: tbsCertList, signatureAlgorithm, signatureValue
  const [tbsCertList, algorithm, signature, ...others] = readElements(outer.content) ?? []
  if (tbsCertList?.tag !== SEQUENCE || algorithm?.tag !== SEQUENCE) return undefined
  if (signature?.tag !== BIT_STRING || others.length > 0) return undefined
  // TBSCertList: [version], signature, issuer, thisUpdate, [nextUpdate], …
  const fields = readElements(tbsCertList.content) ?? []
  const begin = fields[0]?.tag === INTEGER ? 1 : 0
  const [, issuer, thisUpdate, nextUpdate] = fields.slice(begin)
  const thisUpdateMs = readTime(thisUpdate)
  if (issuer?.tag !== SEQUENCE || thisUpdateMs === undefined) return undefined
  return { thisUpdateMs, nextUpdateMs: readTime(nextUpdate) }
}

interface Element {
  readonly tag: number
  readonly content: Uint8Array
  /** What follows it. */
  readonly rest: Uint8Array
}

/** One element in DER (X.690 §8.1, §10.1); undefined when it is not whole. */
function readElement(bytes: Uint8Array): Element | undefined {
  const [tag, first] = bytes
  if (tag === undefined || first === undefined) return undefined
  let length = first
  let header = 2
  if (first >= 0x80) {
    const size = first & 0x7f
    if (size === 0 || size > 4 || bytes.length < 2 + size) return undefined
    length = bytes.subarray(2, 2 + size).reduce((value, byte) => value * 256 + byte, 0)
    header += size
  }
  if (bytes.length < header + length) return undefined
  return { tag, content: bytes.subarray(header, header + length), rest: bytes.subarray(header + length) }
}

function readElements(bytes: Uint8Array): Element[] | undefined {
  const elements: Element[] = []
  for (let rest = bytes; rest.length > 0; ) {
    const element = readElement(rest)
    if (element === undefined) return undefined
    elements.push(element)
    rest = element.rest
  }
  return elements
}

/** UTCTime YYMMDDhhmmssZ (until 2049) or GeneralizedTime YYYYMMDDhhmmssZ, RFC 5280 §5.1.2.4. */
function readTime(element: Element | undefined): number | undefined {
  if (element?.tag !== UTC_TIME && element?.tag !== GENERALIZED_TIME) return undefined
  const text = Buffer.from(element.content).toString('latin1')
  const century = Number(text.slice(0, 2)) < 50 ? '20' : '19'
  const full = element.tag === UTC_TIME ? `${century}${text}` : text
  const [, year, month, date, hour, minute, second] = TIME.exec(full) ?? []
  const ms = Date.parse(`${year}-${month}-${date}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(ms) ? undefined : ms
}

const TIME = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/
const INTEGER = 0x02
const BIT_STRING = 0x03
const SEQUENCE = 0x30
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18

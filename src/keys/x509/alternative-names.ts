/** subjectAltName: `dns:www.example.com`, `ip:192.0.2.1`, `uri:spiffe://…`, `email:…` (RFC 5280 §4.2.1.6). */

import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'

import { type Asn1, contextPrimitive, elements, sequence } from './der.ts'

export interface AlternativeName {
  readonly kind: 'dns' | 'ip' | 'uri' | 'email'
  readonly value: string
}

/** @param text with or without its kind: an address is an `ip`, the rest is `dns`. @throws {RangeError} in words for the operator. */
export function parseAlternativeName(text: string): AlternativeName {
  const [, kind = isIP(text) === 0 ? 'dns' : 'ip', value = text] =
    /^(dns|ip|uri|email):(.*)$/is.exec(text) ?? []
  switch (kind.toLowerCase()) {
    case 'ip':
      if (isIP(value) === 0) throw new RangeError(`"${value}" is no IP address`)
      return { kind: 'ip', value }
    case 'uri':
      if (!/^[a-z][a-z0-9+.-]*:\S+$/i.test(value) || !isAscii(value))
        throw new RangeError(`"${value}" is no URI: e.g. uri:spiffe://example.com/web`)
      return { kind: 'uri', value }
    case 'email':
      if (!/^[^@\s]+@[^@\s]+$/.test(value) || !isAscii(value))
        throw new RangeError(`"${value}" is no mail address`)
      return { kind: 'email', value }
    default:
      return { kind: 'dns', value: dnsName(value) }
  }
}

/** As `parseAlternativeName` reads it. */
export function alternativeNameText({ kind, value }: AlternativeName): string {
  return `${kind}:${value}`
}

/** GeneralNames. */
export function encodeAlternativeNames(names: readonly AlternativeName[]): Asn1 {
  return sequence(...names.map(({ kind, value }) => contextPrimitive(TAGS[kind], bytesOf(kind, value))))
}

/** GeneralSubtrees that each hold one name (RFC 5280 §4.2.1.10): an address is followed by its mask, here all ones. */
export function encodeSubtrees(names: readonly AlternativeName[]): readonly Asn1[] {
  return names.map(({ kind, value }) => {
    const bytes = bytesOf(kind, value)
    const whole = kind === 'ip' ? Buffer.concat([bytes, Buffer.alloc(bytes.length, 0xff)]) : bytes
    return sequence(contextPrimitive(TAGS[kind], whole))
  })
}

function bytesOf(kind: AlternativeName['kind'], value: string): Buffer {
  return kind === 'ip' ? addressBytes(value) : Buffer.from(value, 'latin1')
}

/** @param der GeneralNames. @returns undefined when it holds names of other kinds. */
export function decodeAlternativeNames(der: Uint8Array): readonly AlternativeName[] | undefined {
  const names: AlternativeName[] = []
  for (const element of elements(der)) {
    const kind = KINDS.get((element[0] ?? 0) & 0x1f)
    const value = element.subarray(2)
    // A name of 128 bytes or more has a longer header; it would be read wrongly here, so it is not read at all.
    if (kind === undefined || (element[1] ?? 0) !== value.length) return undefined
    names.push({ kind, value: kind === 'ip' ? addressText(value) : value.toString('latin1') })
  }
  return names
}

function dnsName(value: string): string {
  const [wildcard, rest] = value.startsWith('*.') ? ['*.', value.slice(2)] : ['', value]
  const ascii = domainToASCII(rest)
  if (!DNS_NAME.test(ascii) || ascii.length > 253) {
    throw new RangeError(`"${value}" is no DNS name: e.g. dns:www.example.com or dns:*.example.com`)
  }
  return wildcard + ascii
}

/** In network order. @param address one that `isIP` takes. */
function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number))
  // The URL parser writes it with :: in one place at most, and an embedded IPv4 address as hexadecimal.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [head = '', tail] = canonical
    .split('::')
    .map((half) => half.split(':').filter((group) => group !== ''))
  const left = [...head]
  const right = tail ?? []
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return [...bytes].join('.')
  const groups = bytes.toString('hex').match(/.{4}/g) ?? []
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

function isAscii(text: string): boolean {
  return /^[\x21-\x7e]*$/.test(text)
}

const TAGS = { email: 1, dns: 2, uri: 6, ip: 7 } as const
const KINDS: ReadonlyMap<number, AlternativeName['kind']> = new Map([
  [1, 'email'],
  [2, 'dns'],
  [6, 'uri'],
  [7, 'ip'],
])
const DNS_NAME = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

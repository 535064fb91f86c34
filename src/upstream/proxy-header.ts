/**
 * The PROXY header, version 2, that tells a tcp server whose connection it got and what TLS agreed on
 * (HAProxy's proxy-protocol.txt, section 2.2).
 */

import { isIPv4 } from 'node:net'

export interface ProxiedConnection {
  /** IP address. */
  readonly peer: string
  readonly peerPort: number
  /** Where the peer connected to; IP address. */
  readonly localAddress: string
  readonly localPort: number
  readonly serverName: string | undefined
  readonly alpnProtocol: string | undefined
  readonly tlsVersion: string
  readonly cipher: string
}

export function proxyHeader(connection: ProxiedConnection): Buffer {
  const { peer, peerPort, localAddress, localPort } = connection
  const ipv4 = isIPv4(peer) && isIPv4(localAddress)
  const bytes = ipv4 ? ipv4Bytes : ipv6Bytes
  const payload = Buffer.concat([
    bytes(peer),
    bytes(localAddress),
    uint16(peerPort),
    uint16(localPort),
    ...facts(connection),
  ])
  return Buffer.concat([
    SIGNATURE,
    Buffer.of(VERSION_2_PROXY, ipv4 ? TCP4 : TCP6),
    uint16(payload.length),
    payload,
  ])
}

/** Section 2.2.2 and following: application protocol, server name, TLS. */
function facts({ alpnProtocol, serverName, tlsVersion, cipher }: ProxiedConnection): Buffer[] {
  const found: Buffer[] = []
  if (alpnProtocol !== undefined) found.push(tlv(PP2_TYPE_ALPN, Buffer.from(alpnProtocol)))
  if (serverName !== undefined) found.push(tlv(PP2_TYPE_AUTHORITY, Buffer.from(serverName)))
  const ssl = Buffer.concat([
    Buffer.of(PP2_CLIENT_SSL, 0, 0, 0, NOT_VERIFIED),
    tlv(PP2_SUBTYPE_SSL_VERSION, Buffer.from(tlsVersion)),
    tlv(PP2_SUBTYPE_SSL_CIPHER, Buffer.from(cipher)),
  ])
  found.push(tlv(PP2_TYPE_SSL, ssl))
  return found
}

function tlv(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type), uint16(value.length), value])
}

function uint16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff)
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number))
}

/** One family for both ends: IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2). */
function ipv6Bytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.concat([MAPPED, ipv4Bytes(address)])
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? []
  const before = groups(head)
  const after = tail === undefined ? [] : groups(tail)
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0)
  return Buffer.concat([...before, ...zeros, ...after].map(uint16))
}

function groups(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
}

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const VERSION_2_PROXY = 0x21
const TCP4 = 0x11
const TCP6 = 0x21
const PP2_TYPE_ALPN = 0x01
const PP2_TYPE_AUTHORITY = 0x02
const PP2_TYPE_SSL = 0x20
const PP2_SUBTYPE_SSL_VERSION = 0x21
const PP2_SUBTYPE_SSL_CIPHER = 0x23
const PP2_CLIENT_SSL = 0x01
/** `verify` of the TLS record: 0 would say that the client has shown a certificate that was verified. */
const NOT_VERIFIED = 1
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')

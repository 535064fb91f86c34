/**
 * The PROXY header, version 2, that tells a tcp server whose connection it got, what TLS agreed on, and who the client has
 * proved to be (HAProxy's proxy-protocol.txt, section 2.2).
 *
 * Of a client certificate the standard has the common name only. Names of the subjectAltName extension travel in the
 * certificate itself, where a server asks for it (`v2-certificate`): a list of them in a type of our own would be one that
 * nobody else reads.
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
  /** The client certificate was shown in an earlier connection, if there is one. */
  readonly resumed: boolean
  /** Ours, as shown in this handshake. */
  readonly certificate?: { readonly signatureAlgorithm: string; readonly keyAlgorithm: string } | undefined
  /** Verified. */
  readonly clientCertificate?:
    | { readonly commonName: string | undefined; readonly certificate: Uint8Array }
    | undefined
}

/**
 * v2: all but the client certificate itself. v2-certificate: that as well. v2-addresses: addresses only, for servers that take
 * no more (nginx before 1.23.2 refuses headers of more than 107 bytes).
 */
export type ProxyHeaderKind = 'v2' | 'v2-certificate' | 'v2-addresses'

export function proxyHeader(connection: ProxiedConnection, kind: ProxyHeaderKind): Buffer {
  const { peer, peerPort, localAddress, localPort } = connection
  const ipv4 = isIPv4(peer) && isIPv4(localAddress)
  const bytes = ipv4 ? ipv4Bytes : ipv6Bytes
  const payload = Buffer.concat([
    bytes(peer),
    bytes(localAddress),
    uint16(peerPort),
    uint16(localPort),
    ...(kind === 'v2-addresses' ? [] : facts(connection, kind)),
  ])
  return Buffer.concat([
    SIGNATURE,
    Buffer.of(VERSION_2_PROXY, ipv4 ? TCP4 : TCP6),
    uint16(payload.length),
    payload,
  ])
}

/** Section 2.2.1 and following: application protocol, server name, TLS. */
function facts(connection: ProxiedConnection, kind: ProxyHeaderKind): Buffer[] {
  const { alpnProtocol, serverName, clientCertificate: client } = connection
  const found: Buffer[] = []
  if (alpnProtocol !== undefined) found.push(tlv(PP2_TYPE_ALPN, alpnProtocol))
  if (serverName !== undefined) found.push(tlv(PP2_TYPE_AUTHORITY, serverName))
  const ssl = [tlsFacts(connection)]
  if (client?.commonName !== undefined) ssl.push(tlv(PP2_SUBTYPE_SSL_CN, client.commonName))
  if (client !== undefined && kind === 'v2-certificate' && client.certificate.length <= MAX_CERTIFICATE_BYTES)
    ssl.push(tlv(PP2_SUBTYPE_SSL_CLIENT_CERT, client.certificate))
  found.push(tlv(PP2_TYPE_SSL, Buffer.concat(ssl)))
  return found
}

function tlsFacts(connection: ProxiedConnection): Buffer {
  const { tlsVersion, cipher, resumed, certificate, clientCertificate } = connection
  const shown = resumed ? PP2_CLIENT_CERT_SESS : PP2_CLIENT_CERT_CONN | PP2_CLIENT_CERT_SESS
  const flags = PP2_CLIENT_SSL | (clientCertificate === undefined ? 0 : shown)
  const parts = [
    Buffer.of(flags, 0, 0, 0, clientCertificate === undefined ? NOT_VERIFIED : VERIFIED),
    tlv(PP2_SUBTYPE_SSL_VERSION, tlsVersion),
    tlv(PP2_SUBTYPE_SSL_CIPHER, cipher),
  ]
  if (certificate !== undefined) {
    parts.push(
      tlv(PP2_SUBTYPE_SSL_SIG_ALG, certificate.signatureAlgorithm),
      tlv(PP2_SUBTYPE_SSL_KEY_ALG, certificate.keyAlgorithm),
    )
  }
  return Buffer.concat(parts)
}

function tlv(type: number, content: string | Uint8Array): Buffer {
  const value = Buffer.from(content)
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
const PP2_SUBTYPE_SSL_CN = 0x22
const PP2_SUBTYPE_SSL_CIPHER = 0x23
const PP2_SUBTYPE_SSL_SIG_ALG = 0x24
const PP2_SUBTYPE_SSL_KEY_ALG = 0x25
/** HAProxy 3.2 and Ghostunnel 1.10: the certificate in DER. */
const PP2_SUBTYPE_SSL_CLIENT_CERT = 0x28
const PP2_CLIENT_SSL = 0x01
/** The client has shown a certificate in this connection; in the TLS session that this connection belongs to. */
const PP2_CLIENT_CERT_CONN = 0x02
const PP2_CLIENT_CERT_SESS = 0x04
/** `verify`: 0 says that the client has shown a certificate that was verified. */
const VERIFIED = 0
const NOT_VERIFIED = 1
/** A header's length is 16 bits, and HAProxy reads no header that is larger than its buffer (16 KiB). */
const MAX_CERTIFICATE_BYTES = 12_288
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')

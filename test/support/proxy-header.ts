/** Reads PROXY headers of version 2 as their receiver would: from the bytes alone (proxy-protocol.txt, section 2.2). */

export interface ProxyHeader {
  readonly source: string
  readonly sourcePort: number
  readonly destination: string
  readonly destinationPort: number
  /** By type. */
  readonly tlvs: ReadonlyMap<number, Buffer>
  /** Of the TLV 0x20; undefined without it. */
  readonly ssl: SslTlv | undefined
  /** What follows the header. */
  readonly rest: Buffer
}

export interface SslTlv {
  /** PP2_CLIENT_SSL 1, PP2_CLIENT_CERT_CONN 2, PP2_CLIENT_CERT_SESS 4. */
  readonly client: number
  readonly verify: number
  readonly tlvs: ReadonlyMap<number, Buffer>
}

/** @returns undefined while the header is not whole. @throws when it is none of IPv4. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  if (bytes.length < 16) return undefined
  const start = bytes.subarray(0, 14).toString('hex')
  if (start !== '0d0a0d0a000d0a515549540a2111')
    throw new Error(`no PROXY v2 header of TCP over IPv4: ${start}`)
  const end = 16 + bytes.readUInt16BE(14)
  if (bytes.length < end) return undefined
  const tlvs = parseTlvs(bytes.subarray(28, end))
  return {
    source: [...bytes.subarray(16, 20)].join('.'),
    destination: [...bytes.subarray(20, 24)].join('.'),
    sourcePort: bytes.readUInt16BE(24),
    destinationPort: bytes.readUInt16BE(26),
    tlvs,
    ssl: parseSsl(tlvs.get(0x20)),
    rest: bytes.subarray(end),
  }
}

function parseSsl(value: Buffer | undefined): SslTlv | undefined {
  if (value === undefined) return undefined
  return { client: value.readUInt8(0), verify: value.readUInt32BE(1), tlvs: parseTlvs(value.subarray(5)) }
}

/** @throws RangeError when lengths do not add up. */
function parseTlvs(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt16BE(at + 1)
    if (at + 3 + length > bytes.length) throw new RangeError('a TLV is longer than what holds it')
    found.set(bytes.readUInt8(at), bytes.subarray(at + 3, at + 3 + length))
    at += 3 + length
  }
  return found
}

/** A ClientHello as bytes, to be sent in ways that no TLS library would send it. */

import { createECDH, randomBytes } from 'node:crypto'

/** @returns one TLS record: TLS 1.3 with TLS_AES_128_GCM_SHA256, P-256 and ecdsa_secp256r1_sha256 (RFC 8446 §4.1.2). */
export function clientHello(serverName: string): Buffer {
  const ecdh = createECDH('prime256v1')
  const share = ecdh.generateKeys()
  const name = Buffer.from(serverName)
  const extensions = [
    extension(0, vector(2, Buffer.concat([Buffer.of(0), vector(2, name)]))), // server_name, RFC 6066 §3
    extension(10, vector(2, Buffer.from('0017', 'hex'))), // supported_groups: secp256r1
    extension(13, vector(2, Buffer.from('0403', 'hex'))), // signature_algorithms: ecdsa_secp256r1_sha256
    extension(43, vector(1, Buffer.from('0304', 'hex'))), // supported_versions: TLS 1.3
    extension(51, vector(2, Buffer.concat([Buffer.from('0017', 'hex'), vector(2, share)]))), // key_share
  ]
  const body = Buffer.concat([
    Buffer.from('0303', 'hex'),
    randomBytes(32),
    vector(1, randomBytes(32)), // legacy_session_id
    vector(2, Buffer.from('1301', 'hex')), // TLS_AES_128_GCM_SHA256
    vector(1, Buffer.of(0)), // legacy_compression_methods
    vector(2, Buffer.concat(extensions)),
  ])
  const message = Buffer.concat([Buffer.of(1), vector(3, body)])
  return Buffer.concat([Buffer.from('160301', 'hex'), vector(2, message)])
}

function extension(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(type)
  return Buffer.concat([head, vector(2, data)])
}

/** A length of that many bytes, then the bytes (RFC 8446 §3.4). */
function vector(lengthBytes: number, data: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes)
  length.writeUIntBE(data.length, 0, lengthBytes)
  return Buffer.concat([length, data])
}

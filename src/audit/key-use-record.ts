/** A use of a key as the fields of its record. On the way of every signature: built from parts that are made once. */

import { createHash, hash } from 'node:crypto'

import type { KeyUse, LoginUse, SignatureUse, WrapUse } from '../hsm/key-use.ts'
import { jsonFields } from './chain.ts'
import type { RecordType } from './record.ts'

export function keyUseType(use: KeyUse): RecordType {
  if (use.kind === 'wrap') return use.direction
  return use.kind === 'signature' ? 'sign' : 'login'
}

/** Fields of a `sign`, `login`, `wrap` or `unwrap` record, see README.md. */
export function keyUseFields(use: KeyUse): string {
  if (use.kind === 'wrap') return wrapFields(use)
  return use.kind === 'signature' ? signatureFields(use) : loginFields(use)
}

/** Hex SHA-256 of the DER SubjectPublicKeyInfo: what `openssl pkey -pubin -outform DER | sha256sum` shows. */
export function spkiFingerprint(spki: Uint8Array): string {
  return createHash('sha256').update(spki).digest('hex')
}

function signatureFields(use: SignatureUse): string {
  const { connection } = use
  const asker =
    connection === undefined
      ? ''
      : `,"connection":${connection.id},"serverName":${jsonText(connection.serverName)},"peer":${jsonText(connection.peer)}`
  return (
    `"reason":"${use.reason}",${keyFields(use)},"scheme":"${use.scheme.name}","hsm":"${use.hsm}",` +
    `"result":"${use.result}","used":${use.used},"latencyMs":${Math.round(use.latencyMs * 1000) / 1000},` +
    `"attempt":${use.attempt},"hedge":${use.hedge}${asker},"messageSha256":"${hash('sha256', use.message)}"`
  )
}

function wrapFields({ hsm, uri, header, result, latencyMs }: WrapUse): string {
  return jsonFields({ key: { uri }, hsm, result, latencyMs, headerSha256: hash('sha256', header) })
}

function loginFields({ hsm, token, result }: LoginUse): string {
  return jsonFields({ hsm, token, result })
}

/** From a ClientHello: JSON.stringify makes one harmless line of whatever it is. */
function jsonText(text: string | undefined): string {
  return text === undefined ? 'null' : JSON.stringify(text)
}

const fieldsOfKeys = new WeakMap<Uint8Array, { uri: string; fields: string }>()

function keyFields({ uri, spki }: SignatureUse): string {
  const known = fieldsOfKeys.get(spki)
  if (known?.uri === uri) return known.fields
  const fields = `"key":${JSON.stringify({ uri, spkiSha256: spkiFingerprint(spki) })}`
  fieldsOfKeys.set(spki, { uri, fields })
  return fields
}

/**
 * What an upstream is told about a client's certificate (RFC 9440), and what clients may not say themselves.
 *
 * `Client-Cert` and `Client-Cert-Chain` are removed from every request on every listener, asked for or not
 * (RFC 9440 §4): an upstream that trusts them must be able to trust them on whichever way a request came.
 */

import type { NativePeerCertificate } from '../native/addon.ts'
import type { ClientFields } from './options.ts'

/** Lower-case names; requests never carry them to an upstream but from us. */
export const CLIENT_CERTIFICATE_FIELDS = ['client-cert', 'client-cert-chain'] as const

/** @returns flat name/value list, the same for all requests of a connection; empty without a certificate. */
export function clientFields(
  names: ClientFields | undefined,
  client: NativePeerCertificate | undefined,
): readonly string[] {
  if (names === undefined || client === undefined) return []
  const fields: string[] = []
  const tell = (name: string | undefined, value: string): void => {
    if (name !== undefined && value !== '') fields.push(name, value)
  }
  tell(names.certificate, byteSequence(client.certificate))
  tell(names.chain, client.chain.map(byteSequence).join(', '))
  tell(names.subject, client.subject)
  tell(names.subjectAltNames, client.subjectAltNames.map(structuredString).join(', '))
  tell(names.serial, client.serial)
  tell(names.fingerprint, client.fingerprint)
  return fields
}

/**
 * Removes fields whose names are reserved, also written with `_` for `-`, which CGI and WSGI take for the same.
 * @param headers flat name/value list, changed in place.
 * @param reserved lower-case names with hyphens.
 */
export function removeReserved(headers: string[], reserved: ReadonlySet<string>): void {
  removeFields(headers, (name) => reserved.has(reservedName(name)))
}

/**
 * Takes time in proportion to their number, which a stranger chooses.
 * @param headers flat name/value list, changed in place.
 */
export function removeFields(headers: string[], isUnwanted: (name: string) => boolean): void {
  let kept = 0
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (isUnwanted(name)) continue
    headers[kept] = name
    headers[kept + 1] = headers[i + 1] ?? ''
    kept += 2
  }
  headers.length = kept
}

/** The form in which names are compared. */
export function reservedName(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

/** RFC 8941 §3.3.5. */
function byteSequence(bytes: Uint8Array): string {
  return `:${Buffer.from(bytes).toString('base64')}:`
}

/** RFC 8941 §3.3.3; the text is graphic ASCII. */
function structuredString(text: string): string {
  return `"${text.replaceAll(/["\\]/g, (character) => `\\${character}`)}"`
}

/** What a log line says about the client certificate of a connection, the same in both modes. */

import type { NativePeerCertificate } from './addon.ts'

/**
 * TLS lets nobody in whose certificate it has not verified: there is a good one, or none.
 * @param client of a connection whose listener asks for certificates.
 */
export function peerRecord(client: NativePeerCertificate | undefined): object {
  if (client === undefined) return { clientVerified: 'none' }
  return {
    clientVerified: 'ok',
    clientSubject: client.subject,
    clientNames: client.subjectAltNames,
    clientSerial: client.serial,
    clientFingerprint: client.fingerprint,
  }
}

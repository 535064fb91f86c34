/** Few words for many reasons: what metrics count failed handshakes by. */

import { expect, test } from 'vitest'
import { failureKind } from '../../../src/tls/failure-kind.ts'

const REFUSED = 'client certificate refused: '
const OF_ALICE = ' (CN=alice, serial 0A)'

test.each([
  ['timeout', 'timeout'],
  ['peer closed', 'peer_closed'],
  ['connection reset', 'peer_closed'],
  ['no PROXY header', 'no_proxy_header'],
  ['unrecognized name', 'unrecognized_name'],
  ['past the limit of full handshakes (address)', 'limit'],
  ['past max_handshakes that wait for a signature', 'limit'],
  ['signature failed: ERR_HSM_EXHAUSTED: timeout of certificate has expired', 'signature'],
  ['http request', 'plaintext_http'],
  ['tlsv1 alert unknown ca', 'client_alert'],
  ['sslv3 alert certificate expired', 'client_alert'],
  ['ssl/tls alert bad certificate', 'client_alert'],
  ['no shared cipher', 'nothing_in_common'],
  ['no suitable signature algorithm', 'nothing_in_common'],
  ['no suitable key share', 'nothing_in_common'],
  ['unsupported protocol', 'nothing_in_common'],
  ['wrong version number', 'protocol'],
  ['whatever OpenSSL may say one day', 'protocol'],
  ['peer did not return a certificate', 'client_certificate_missing'],
  [`${REFUSED}not allowed by this listener${OF_ALICE}, DNS:a`, 'client_certificate_not_allowed'],
  [`${REFUSED}certificate has expired${OF_ALICE}`, 'client_certificate_expired'],
  [`${REFUSED}certificate is not yet valid${OF_ALICE}`, 'client_certificate_not_yet_valid'],
  [`${REFUSED}certificate revoked${OF_ALICE}`, 'client_certificate_revoked'],
  [`${REFUSED}unable to get certificate CRL${OF_ALICE}`, 'client_certificate_revocation_unknown'],
  [`${REFUSED}CRL has expired${OF_ALICE}`, 'client_certificate_revocation_unknown'],
  [`${REFUSED}unable to get local issuer certificate${OF_ALICE}`, 'client_certificate_unknown_issuer'],
  [`${REFUSED}self-signed certificate in certificate chain${OF_ALICE}`, 'client_certificate_unknown_issuer'],
  [`${REFUSED}unsuitable certificate purpose${OF_ALICE}`, 'client_certificate_purpose'],
  [`${REFUSED}certificate chain too long${OF_ALICE}`, 'client_certificate_chain_too_long'],
  [`${REFUSED}something else${OF_ALICE}`, 'client_certificate_other'],
  // A subject is the client's to choose.
  [`${REFUSED}certificate has expired (CN=purpose CRL, serial 0A)`, 'client_certificate_expired'],
  [`${REFUSED}something else (CN=CRL purpose, serial 0A)`, 'client_certificate_other'],
])('%s is %s', (reason, kind) => {
  expect(failureKind(reason)).toBe(kind)
})

/**
 * Why handshakes fail, in a few words that metrics can have as labels: reasons are OpenSSL's and peers' own texts, of which
 * there are as many as somebody likes.
 */

/** @param reason of a `handshake-failed` event. */
export function failureKind(reason: string): string {
  const refused = CERTIFICATE_REFUSED.exec(reason)?.[1]
  if (refused !== undefined) return `client_certificate_${kindIn(CERTIFICATES, refused) ?? 'other'}`
  return kindIn(HANDSHAKES, reason) ?? 'protocol'
}

function kindIn(kinds: readonly Kind[], reason: string): string | undefined {
  return kinds.find(([pattern]) => pattern.test(reason))?.[1]
}

type Kind = readonly [RegExp, string]

/** OpenSSL's verdict, or that no rule fits; in parentheses follows a subject, which is the client's to choose. */
const CERTIFICATE_REFUSED = /^client certificate refused: ([^(]*)/s

/** The first that fits; anything else is `protocol`: bytes that are no TLS, or broken TLS. */
const HANDSHAKES: readonly Kind[] = [
  [/^timeout$/, 'timeout'],
  [/^no PROXY header$/, 'no_proxy_header'],
  [/^unrecognized name$/, 'unrecognized_name'],
  [/^past /, 'limit'],
  [/^(signature failed|no key for)/, 'signature'],
  [/^https? (proxy )?request$/, 'plaintext_http'],
  [/^peer did not return a certificate/, 'client_certificate_missing'],
  [/\balert\b/, 'client_alert'],
  [/^(peer closed|connection reset|Connection reset by peer|Broken pipe|unexpected eof)/, 'peer_closed'],
  [
    /^(no shared|no suitable|no application protocol|unsupported protocol|version too low)/,
    'nothing_in_common',
  ],
]

/** X509_verify_cert_error_string. */
const CERTIFICATES: readonly Kind[] = [
  [/^not allowed by this listener/, 'not_allowed'],
  [/^certificate has expired/, 'expired'],
  [/^certificate is not yet valid/, 'not_yet_valid'],
  [/^certificate revoked/, 'revoked'],
  [/\b(CRL|revocation)\b/, 'revocation_unknown'],
  [/^(unable to get (local )?issuer|self[- ]signed|unable to verify the first)/, 'unknown_issuer'],
  [/purpose/, 'purpose'],
  [/^(certificate chain too long|path length constraint exceeded)/, 'chain_too_long'],
]

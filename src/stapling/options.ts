/** What stapling needs to know; produced by config/, passed through by app.ts. All values are checked. */

import type { CertificateOptions } from '../tls/options.ts'

/** Where the OCSP response of one certificate comes from. */
export interface StaplingSource {
  /** off: nothing is stapled. */
  readonly kind: 'off' | 'fetch' | 'file'
  /** fetch: instead of the responder that the certificate names. http or https. */
  readonly responder: string | undefined
  /** file: DER; absolute. */
  readonly file: string | undefined
  /** DER of the issuer's certificate, which vouches for the response; undefined: it is not known. */
  readonly issuer: Uint8Array | undefined
  /** The operator asked for it, for this certificate: worth a warning when it cannot be done. */
  readonly explicit: boolean
  /** While there is no response, clients that ask for one are refused. */
  readonly required: boolean
}

export interface StaplingOptions {
  /** Directory where responses survive a restart; absolute. undefined: they do not. */
  readonly cache: string | undefined
  /** One request to a responder. */
  readonly timeoutMs: number
  /** At the start: how long listeners wait for the responses of certificates that must not be without. */
  readonly startWaitMs: number
}

export interface StapledOptions {
  readonly certificate: Pick<CertificateOptions, 'file' | 'names' | 'keyType' | 'chain'>
  readonly stapling: StaplingSource
}

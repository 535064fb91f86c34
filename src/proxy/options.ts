/** What the HTTP side needs to know; produced by config/, sent to the HTTP workers as it is (structured clone). */

export interface HttpListenerOptions {
  /** `listeners[0]` or the name given in the configuration; a metric label. */
  readonly name: string
  readonly routes: readonly Route[]
  readonly maxHeaderBytes: number
  /** From the first byte of a request to the end of its headers. */
  readonly headerTimeoutMs: number
  /** An open connection without a request is closed after this. */
  readonly keepAliveMs: number
  /** undefined: clients are not asked for a certificate. */
  readonly clientFields?: ClientFields | undefined
  /**
   * Lower-case names that only Sealgate may send to an upstream, beside those that are always removed: what any
   * listener tells about clients in names of the operator's choice.
   */
  readonly reservedFields?: readonly string[]
}

/** Header fields in which the upstream is told about a verified client certificate; undefined: not told. */
export interface ClientFields {
  /** RFC 9440 §2.2: the leaf, a Byte Sequence. */
  readonly certificate: string | undefined
  /** RFC 9440 §2.3: its issuers without the anchor, a List of Byte Sequences. */
  readonly chain: string | undefined
  readonly subject: string | undefined
  /** RFC 8941 List of Strings. */
  readonly subjectAltNames: string | undefined
  readonly serial: string | undefined
  readonly fingerprint: string | undefined
}

/** The first route that matches serves the request. */
export interface Route {
  /** Lower case, exact or one-label wildcard (`*.example.com`); undefined matches every host. */
  readonly host: string | undefined
  /** Path prefix, starts with `/`, in any spelling (path.ts); undefined matches every path. */
  readonly path: string | undefined
  /** Name of an upstream. */
  readonly upstream: string
  /** Requests on connections without a client certificate get a 403. */
  readonly requireClientCertificate?: boolean
}

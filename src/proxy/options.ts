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
}

/** The first route that matches serves the request. */
export interface Route {
  /** Lower case, exact or one-label wildcard (`*.example.com`); undefined matches every host. */
  readonly host: string | undefined
  /** Path prefix, starts with `/`; undefined matches every path. */
  readonly path: string | undefined
  /** Name of an upstream. */
  readonly upstream: string
}

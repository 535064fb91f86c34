/** What sharing ticket keys needs to know; produced by config/, passed through by app.ts. All values are checked. */

import type { KeyOptions } from '../hsm/options.ts'

export interface SharedTicketOptions {
  readonly place: TicketPlace
  /** The AES key that wraps them. */
  readonly key: KeyOptions
}

export type TicketPlace =
  | {
      readonly kind: 'file'
      /** Absolute. */
      readonly file: string
    }
  | ({ readonly kind: 'redis' } & RedisPlace)

export interface RedisPlace {
  /** `redis://host:port/db` or `rediss://…`; without user and password. */
  readonly url: string
  /** The Redis key. */
  readonly key: string
  readonly username: string | undefined
  /** Read at every connection; undefined: Redis asks for none. */
  readonly password: { readonly file: string } | { readonly env: string } | undefined
  /** PEM, the text, with the CAs of a rediss server; undefined: those that Node trusts. */
  readonly ca: string | undefined
  /** Of the server's certificate; undefined: the host of the URL. */
  readonly serverName: string | undefined
}

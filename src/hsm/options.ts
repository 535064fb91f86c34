/** What the HSM side needs to know; produced by config/, passed through by app.ts. All values are checked. */

export interface HsmOptions {
  /** Name in the configuration, e.g. `hsm-a`; used in logs, metrics and errors. */
  readonly name: string
  /** Absolute path of the vendor's PKCS#11 module. */
  readonly module: string
  /** What the module is given with C_Initialize, in its own language; few modules take anything. */
  readonly initialize?: string | undefined
  readonly token: { readonly label: string } | { readonly serial: string } | { readonly slot: number }
  /** Read by the host process only: the front process never holds the PIN. */
  readonly pin: { readonly file: string } | { readonly env: string }
  /** CK_USER_TYPE for C_Login; 1 is CKU_USER, some vendors have their own (0x80000001 on Luna). */
  readonly userType: number
  /** Signatures in flight at most; the token's own limit minus one caps it. */
  readonly sessions: number
  /** Extra environment, for this host only. Relative paths are already resolved against the configuration file. */
  readonly env: Readonly<Record<string, string>>
  /** The AES key of this HSM that wraps the fleet's ticket keys. */
  readonly wrappingKey?: KeySelector | undefined
}

/** Selects a private key object (RFC 7512 `object` and `id`); at least one is given. */
export interface KeySelector {
  readonly label: string | undefined
  readonly id: Uint8Array | undefined
  /** The URI as written, for messages (a PIN in it is refused by config/). */
  readonly uri: string
}

export interface KeyOptions extends KeySelector {
  /** Names of the members, in order. */
  readonly hsms: readonly string[]
  /** By name, the members where the object has another label or id. */
  readonly byHsm?: ReadonlyMap<string, KeySelector> | undefined
}

export interface SigningOptions {
  /** One deadline per signature, queueing included. */
  readonly timeoutMs: number
  /** Signatures that may wait for a free session, over all members of a key. */
  readonly queue: number
  /** auto: on when a key has two or more members. */
  readonly hedge: 'auto' | 'off'
  /** auto: RSA is always verified, ECDSA and Ed25519 are not. */
  readonly verify: 'auto' | 'always'
}

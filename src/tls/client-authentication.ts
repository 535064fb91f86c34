/**
 * Client certificates of the listeners: given to TLS at the start, and again when a CA or CRL file has changed.
 *
 * The files are looked at every few seconds rather than watched: a mounted Kubernetes Secret changes by symbolic
 * links, and a watch on the file behind the old one says nothing. A new state that is broken in any way is not
 * taken: the one in use goes on, and the log says why, once.
 */

import { statSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { TlsError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { NativeAddon, NativeClientAuthentication } from '../native/addon.ts'
import type { ClientAuthenticationOptions, ClientTrust, TrustFiles } from './options.ts'

export interface AskingListener {
  readonly id: number
  readonly name: string
  readonly authentication: ClientAuthenticationOptions
}

export interface ClientAuthenticationsOptions {
  readonly listeners: readonly AskingListener[]
  /** Reads the files anew. */
  readonly read: (files: TrustFiles) => {
    readonly trust: ClientTrust
    readonly problems: readonly { readonly level: 'error' | 'warning'; readonly message: string }[]
  }
  /** @throws what TLS does not like; the state before goes on then. */
  readonly apply: (listenerId: number, authentication: NativeClientAuthentication) => void
  readonly log: Log
  /** Changed files were taken up, or not, for this reason. */
  readonly onReloaded?: (listener: string, refused: string | undefined) => void
  /** How often the files are looked at; undefined: never. */
  readonly intervalMs: number | undefined
}

/** What of it a new configuration may change. */
export type AskingState = Pick<ClientAuthenticationsOptions, 'listeners' | 'intervalMs'>

export class ClientAuthentications {
  readonly #options: ClientAuthenticationsOptions
  #listeners: readonly AskingListener[] = []
  /** What the files looked like when they were last read, by listener. */
  readonly #seen = new Map<number, string>()
  /** What is in force, by listener. */
  readonly #applied = new Map<number, NativeClientAuthentication>()
  #timer: NodeJS.Timeout | undefined

  /** @throws {TlsError} `ERR_TLS_CLIENT_TRUST` when OpenSSL refuses an authority or a revocation list. */
  constructor(options: ClientAuthenticationsOptions) {
    this.#options = options
    this.change(options)
  }

  /**
   * Puts a newly loaded configuration into force, or nothing of it. What is as before is not touched.
   *
   * @throws {TlsError} `ERR_TLS_CLIENT_TRUST` when OpenSSL refuses an authority or a revocation list.
   */
  change({ listeners, intervalMs }: AskingState): void {
    const before = new Map(this.#applied)
    try {
      for (const listener of listeners) {
        const { authentication } = listener
        const wanted = native(authentication, authentication.trust)
        if (isDeepStrictEqual(wanted, this.#applied.get(listener.id))) continue
        applyLoaded(listener, (id, each) => this.#apply(id, each))
      }
    } catch (error) {
      for (const [id, authentication] of before)
        if (this.#applied.get(id) !== authentication) this.#apply(id, authentication)
      throw error
    }
    this.#listeners = listeners
    // Not what they look like now: a change between loading and now is found by the first look.
    for (const { id } of listeners) this.#seen.set(id, '')
    clearInterval(this.#timer)
    if (listeners.length === 0 || intervalMs === undefined) return
    this.#timer = setInterval(() => this.reload(), intervalMs).unref()
  }

  /** Looks at the files now; reads those that have changed. */
  reload(): void {
    for (const listener of this.#listeners) {
      const { files } = listener.authentication
      const now = signature(files)
      const before = this.#seen.get(listener.id)
      if (now === before) continue
      this.#seen.set(listener.id, now)
      this.#read(listener, before === '')
    }
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer)
  }

  #read({ id, name, authentication }: AskingListener, first: boolean): void {
    const { read, log, onReloaded } = this.#options
    const { trust, problems } = read(authentication.files)
    const errors = problems.filter(({ level }) => level === 'error').map(({ message }) => message)
    const unchanged = first && sameTrust(trust, authentication.trust)
    if (errors.length === 0 && unchanged) return
    try {
      if (errors.length > 0) throw new Error(errors.join('; '))
      this.#apply(id, native(authentication, trust))
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      log.error({ listener: name, reason }, 'client CAs or revocation lists not reloaded: the old ones stay')
      onReloaded?.(name, reason)
      return
    }
    const facts = { authorities: trust.authorities.length, revocationLists: trust.revocationLists.length }
    const warnings = problems.length === 0 ? undefined : problems.map(({ message }) => message)
    log.info({ listener: name, ...facts, warnings }, 'client CAs and revocation lists reloaded')
    onReloaded?.(name, undefined)
  }

  #apply(id: number, authentication: NativeClientAuthentication): void {
    this.#options.apply(id, authentication)
    this.#applied.set(id, authentication)
  }
}

/** What OpenSSL says to every listener's CAs and lists, without serving anybody. */
export function checkClientAuthentications(
  addon: NativeAddon,
  listeners: readonly AskingListener[],
): readonly { readonly listener: AskingListener; readonly error?: TlsError }[] {
  if (listeners.length === 0) return []
  const nothing = (): void => {}
  const callbacks = { onSign: nothing, onEstablished: nothing, onEvents: nothing }
  const terminator = new addon.Terminator({ threads: 1, handshakeTimeoutMs: 1, ...callbacks })
  try {
    return listeners.map((listener) => {
      try {
        applyLoaded(listener, (id, authentication) => terminator.setClientAuthentication(id, authentication))
        return { listener }
      } catch (error) {
        if (!(error instanceof TlsError)) throw error
        return { listener, error }
      }
    })
  } finally {
    terminator.close()
  }
}

/** @throws {TlsError} `ERR_TLS_CLIENT_TRUST` naming the listener and its files. */
export function applyLoaded(
  { id, name, authentication }: AskingListener,
  apply: ClientAuthenticationsOptions['apply'],
): void {
  try {
    apply(id, native(authentication, authentication.trust))
  } catch (cause) {
    const { authorities, revocationLists } = authentication.files
    const files = [...authorities, ...revocationLists].join(', ')
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new TlsError(
      'ERR_TLS_CLIENT_TRUST',
      `client_certificate of listener "${name}" (${files}): ${reason}`,
      {
        cause,
      },
    )
  }
}

function native(options: ClientAuthenticationOptions, trust: ClientTrust): NativeClientAuthentication {
  return {
    require: options.mode === 'require',
    authorities: trust.authorities,
    revocationLists: trust.revocationLists,
    checkWholeChain: options.checkRevocation === 'chain',
    depth: options.depth,
    allow: options.allow,
    keepChain: options.keepChain,
  }
}

/** Changes with every way in which a file is usually replaced; never empty. */
function signature({ authorities, revocationLists }: TrustFiles): string {
  return [...authorities, ...revocationLists].map(look).join('\n')
}

function look(file: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true })
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch {
    return 'cannot be looked at' // reading it says why
  }
}

function sameTrust(a: ClientTrust, b: ClientTrust): boolean {
  const bytes = ({ authorities, revocationLists }: ClientTrust): Buffer =>
    Buffer.concat([...authorities, ...revocationLists])
  return bytes(a).equals(bytes(b))
}

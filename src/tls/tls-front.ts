/**
 * The TLS endpoint as the rest of Sealgate sees it: credentials in, signatures asked for, connections out.
 *
 * The threads are C++'s (`native/`); what is decided here is which key signs, which upstream a tcp connection goes
 * to, and what is said in the log. A signature never holds a thread: the handshake is suspended, and
 * `finishSign` resumes it. Long because all that the threads ask and tell comes in here.
 */

import { performance } from 'node:perf_hooks'
import { isDeepStrictEqual } from 'node:util'
import { listenError, SealgateError } from '../errors.ts'
import type {
  NativeEndpoint,
  NativeEstablished,
  NativeEvent,
  NativeListener,
  NativeStaple,
  NativeStats,
  Terminator,
} from '../native/addon.ts'
import { peerRecord } from '../native/peer-record.ts'
import { type ConnectionFacts, schemeByCodePoint } from '../signing.ts'
import { AwaitedSignatures } from './awaited-signatures.ts'
import { ClientAuthentications } from './client-authentication.ts'
import { nativeCredentials } from './credentials.ts'
import { nativeEndpoints } from './endpoints.ts'
import { failureKind } from './failure-kind.ts'
import { FailureLog } from './failure-log.ts'
import { type TlsFinding, tlsFindings } from './findings.ts'
import type { TlsFrontOptions, TlsState } from './front-options.ts'
import { HandshakeLimits } from './handshake-limits.ts'
import { KeyIds } from './key-ids.ts'
import { Offers } from './offers.ts'
import { type SharedKeys, TicketKeys } from './ticket-keys.ts'

export type { TcpRoute, TlsState } from './front-options.ts'

export class TlsFront {
  readonly #options: TlsFrontOptions
  readonly #terminator: Terminator
  readonly #ticketKeys: TicketKeys
  readonly #failures: FailureLog
  readonly #keyIds = new KeyIds()
  readonly #awaited = new AwaitedSignatures()
  readonly #clientAuthentications: ClientAuthentications
  #state: TlsState
  #limits: HandshakeLimits
  #offers: Offers
  /** What the threads have been told last, for comparison; undefined: nothing of this state. */
  #offered: string | undefined
  /** What has been said of it in the log last. */
  #told = '[]'
  #lookAgain: NodeJS.Timeout | undefined
  #closed = false

  /**
   * @throws {NativeError} `ERR_NATIVE_OPENSSL` when OpenSSL refuses a certificate; {TlsError} `ERR_TLS_CLIENT_TRUST`
   *   when it refuses a client CA or a revocation list.
   */
  constructor(options: TlsFrontOptions) {
    this.#options = options
    this.#state = options
    this.#limits = new HandshakeLimits(options.tls.limits, performance.now())
    this.#terminator = new options.addon.Terminator({
      threads: options.threads,
      handshakeTimeoutMs: options.tls.handshakeTimeoutMs,
      ...(options.keyLogFd !== undefined && { keyLogFd: options.keyLogFd }),
      onSign: (handle, keyId, scheme, message, serverName, peer) =>
        this.#sign(keyId, scheme, message, { id: handle, serverName, peer }),
      onEstablished: (connections) => {
        for (const connection of connections) void this.#route(connection)
      },
      onEvents: (events) => {
        for (const event of events) this.#tell(event)
      },
    })
    this.#offers = new Offers(options.credentials, options.signTimeoutMs)
    try {
      this.#offer()
      this.#clientAuthentications = new ClientAuthentications({
        ...options.clientAuthentication,
        ...options.asking,
        apply: (id, authentication) => this.#terminator.setClientAuthentication(id, authentication),
        log: options.log,
      })
    } catch (error) {
      this.#terminator.close()
      throw error
    }
    this.#failures = new FailureLog(options.log)
    this.#ticketKeys = new TicketKeys({
      rotationMs: options.tls.ticketRotationMs,
      apply: (keys) => this.#terminator.setTicketKeys(keys),
    })
  }

  /**
   * @returns the port, which matters when 0 was asked for.
   * @throws {TlsError} `ERR_TLS_LISTEN` with the address and the cure.
   */
  listen(listener: NativeListener): number {
    try {
      return this.#terminator.listen(listener)
    } catch (cause) {
      throw listenError(listener, cause)
    }
  }

  /**
   * Offers what can be signed for now. To be called when a key has become ready or is ready no more, or can do other
   * schemes than before; open connections, handshakes under way and tickets are not touched.
   */
  refresh(): void {
    if (this.#closed) return
    try {
      this.#offer()
    } catch (error) {
      // OpenSSL has taken the same certificates before. What was offered last is offered still.
      this.#options.log.error({ err: error }, 'credentials could not be changed')
    }
  }

  /**
   * Puts a new state into force, or nothing of it. Handshakes under way end with the credentials that they began with;
   * open connections and tickets are not touched.
   *
   * @throws {NativeError} `ERR_NATIVE_OPENSSL`, {TlsError} `ERR_TLS_CLIENT_TRUST`: as the constructor.
   */
  change(next: TlsState): void {
    if (this.#closed) return
    const [state, offers, asking] = [this.#state, this.#offers, this.#state.asking]
    this.#state = next
    this.#offers = new Offers(next.credentials, next.signTimeoutMs, offers)
    try {
      this.#clientAuthentications.change(next.asking)
      this.#offer('anew')
    } catch (error) {
      this.#state = state
      this.#offers = offers
      this.#useKeyIds()
      this.#clientAuthentications.change(asking)
      throw error
    }
    if (!isDeepStrictEqual(state.tls.limits, next.tls.limits))
      this.#limits = new HandshakeLimits(next.tls.limits, performance.now())
  }

  /** Ticket keys of the fleet from now on; see TicketKeys. */
  shareTicketKeys(shared: SharedKeys): void {
    this.#ticketKeys.share(shared)
  }

  get ownTicketKeys(): TicketKeys['own'] {
    return this.#ticketKeys.own
  }

  /** HTTP workers that take connections from now on. */
  setReceivers(receiverIds: readonly number[]): void {
    this.#terminator.setReceivers(receiverIds)
  }

  /** The OCSP responses of all certificates, from the next handshake on. */
  setStaples(staples: readonly NativeStaple[]): void {
    if (!this.#closed) this.#terminator.setStaples(staples)
  }

  /** Takes what is in the backlogs, then stops listening; silent connections are closed after a grace. */
  drain(listenerIds: readonly number[]): void {
    for (const id of listenerIds) this.#terminator.stopListening(id)
    this.#terminator.drain()
  }

  stats(): NativeStats {
    return this.#terminator.stats()
  }

  /** Ends every connection now; what is cut off is recorded when it returns. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#lookAgain)
    this.#keyIds.close()
    this.#ticketKeys.close()
    this.#clientAuthentications.close()
    this.#terminator.close()
    this.#failures.close()
  }

  #offer(how: 'anew' | 'if-changed' = 'if-changed'): void {
    clearTimeout(this.#lookAgain)
    const { offers, againInMs } = this.#offers.look(performance.now())
    // A millisecond more: timers may be early by a fraction of one.
    if (againInMs !== undefined) this.#lookAgain = setTimeout(() => this.refresh(), againInMs + 1)
    const credentials = nativeCredentials(offers)
    const shown = credentials.map(({ names, certificates, signatureSchemes }) => {
      const files = certificates.map(({ keyId }) => offers[keyId]?.certificate.file)
      return { names, certificates: files, signatureSchemes }
    })
    const offered = JSON.stringify(shown)
    if (offered === this.#offered && how === 'if-changed') return
    const { listeners, tls } = this.#state
    const endpoints = nativeEndpoints(listeners, credentials, offers, tls.ticketRotationMs)
    this.#terminator.setCredentials(this.#withKeyIds(endpoints))
    this.#tellLimits(tlsFindings(listeners, offers))
    if (this.#offered !== undefined && offered !== this.#offered)
      this.#options.log.info({ credentials: shown }, 'credentials changed')
    this.#offered = offered
  }

  /** Places in the list of credentials become numbers that stay. */
  #withKeyIds(endpoints: readonly NativeEndpoint[]): NativeEndpoint[] {
    const ids = this.#useKeyIds()
    return endpoints.map((endpoint) => ({
      ...endpoint,
      credentials: endpoint.credentials.map((offer) => ({
        ...offer,
        certificates: offer.certificates.map(({ chain, keyId }) => ({ chain, keyId: ids[keyId] ?? keyId })),
      })),
    }))
  }

  #useKeyIds(): readonly number[] {
    const { credentials, tls, signTimeoutMs } = this.#state
    const keys = credentials.map(({ key }) => key)
    return this.#keyIds.use(keys, tls.handshakeTimeoutMs + signTimeoutMs)
  }

  #tellLimits(findings: readonly TlsFinding[]): void {
    const limits = findings.filter(({ level }) => level !== 'ok')
    const text = JSON.stringify(limits)
    if (text === this.#told) return
    this.#told = text
    for (const { subject, message } of limits) {
      this.#options.log.warn({ subject, reason: message }, 'TLS is limited')
    }
  }

  #sign(keyId: number, codePoint: number, message: Uint8Array, connection: ConnectionFacts): void {
    const handle = connection.id
    const scheme = schemeByCodePoint(codePoint)
    const key = this.#keyIds.key(keyId)
    if (scheme === undefined || key === undefined) {
      this.#terminator.finishSign(handle, null, `no key for signature scheme ${codePoint}`)
      return
    }
    const nowMs = performance.now()
    const { signTimeoutMs } = this.#state
    const deadlineMs = nowMs + signTimeoutMs
    const { exceeded, waitMs } = this.#limits.admit(connection.peer, nowMs, signTimeoutMs)
    if (exceeded !== undefined) this.#options.limited(exceeded, waitMs === undefined ? 'refused' : 'waited')
    if (waitMs === undefined) {
      this.#terminator.finishSign(handle, null, `past the limit of full handshakes (${exceeded})`)
      return
    }
    const waiter = this.#awaited.await(handle)
    const answer = (signature: Uint8Array | null, failure?: string): void => {
      this.#awaited.answered(handle)
      this.#terminator.finishSign(handle, signature, failure)
    }
    const ask = (): void => {
      key.sign({ scheme, message, deadlineMs, connection, waiter }).then(
        (signature) => answer(signature),
        (error: unknown) => answer(null, failureText(error)),
      )
    }
    if (waitMs === 0) ask()
    else setTimeout(ask, waitMs).unref()
  }

  async #route(connection: NativeEstablished): Promise<void> {
    try {
      const route = await this.#options.routeTcp(connection)
      this.#terminator.connectUpstream(connection.handle, route.addresses, route)
    } catch (error) {
      const { handle, listenerId, serverName, peer } = connection
      const listener = this.#options.listenerName(listenerId)
      const facts = {
        connection: handle,
        listener,
        serverName,
        peer,
        code: codeOf(error),
        reason: reasonOf(error),
      }
      this.#options.log.warn(facts, 'no upstream')
      const none = { connectTimeoutMs: 1, idleTimeoutMs: 1, preface: NOTHING }
      const closed = codeOf(error) === 'ERR_REQUEST_NO_ROUTE' ? { ...none, reason: NO_ROUTE } : none
      this.#terminator.connectUpstream(connection.handle, [], closed)
    }
  }

  #asks(listenerId: number): boolean {
    return this.#state.asking.listeners.some(({ id }) => id === listenerId)
  }

  #tell(event: NativeEvent): void {
    const { log, listenerName, metrics } = this.#options
    switch (event.type) {
      case 'handshake-failed': {
        const { type: _, handle, listenerId, reason, ...facts } = event
        this.#awaited.ended(handle)
        const listener = listenerName(listenerId)
        const level = reason.startsWith(SIGNATURE_FAILED) ? 'warn' : 'info'
        metrics.handshakeFailures.labels(listener, failureKind(reason)).inc()
        this.#failures.failed(level, kindOf(reason), reason, { listener, ...facts })
        return
      }
      case 'connection-closed': {
        metrics.tcpConnections.labels(listenerName(event.connection.listenerId), endOf(event.reason)).inc()
        if (!this.#state.accessLog) return
        const { type: _, connection, ...facts } = event
        const { handle, listenerId, clientCertificate, certificate: __, ...tls } = connection
        const client = this.#asks(listenerId) ? peerRecord(clientCertificate) : {}
        const line = { connection: handle, listener: listenerName(listenerId), ...tls, ...client, ...facts }
        log.info(line, 'connection')
        return
      }
      case 'connect-failed':
        this.#options.onConnectFailed(event.upstream)
        log.warn({ upstream: event.upstream, reason: event.reason }, 'upstream connect failed')
        return
      case 'accept-failed':
        metrics.acceptFailures.labels(listenerName(event.listenerId)).inc()
        log.error({ listener: listenerName(event.listenerId), reason: event.reason }, 'accept failed')
        return
      default:
        event satisfies never
    }
  }
}

const NOTHING = new Uint8Array()
const SIGNATURE_FAILED = 'signature failed'
const NO_ROUTE = 'no route'

/** Of a failed signature its code: keys, members and times differ. */
function kindOf(reason: string): string {
  return reason.startsWith(SIGNATURE_FAILED) ? reason.split(': ', 2).join() : reason
}

/** The words of a `connection-closed` event, without OpenSSL's own. */
function endOf(reason: string): string {
  return ENDS[reason] ?? 'error'
}

const ENDS: Readonly<Record<string, string>> = {
  closed: 'closed',
  'upstream closed': 'closed',
  'upstream reset': 'reset',
  'connection reset': 'reset',
  aborted: 'reset',
  'idle timeout': 'timeout',
  'no upstream was chosen in time': 'timeout',
  'upstream unreachable': 'unreachable',
  [NO_ROUTE]: 'no_route',
  'proxy stopped': 'stopped',
}

function failureText(error: unknown): string {
  const code = codeOf(error)
  return [SIGNATURE_FAILED, ...(code === undefined ? [] : [code]), reasonOf(error)].join(': ')
}

function codeOf(error: unknown): string | undefined {
  return error instanceof SealgateError ? error.code : undefined
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/**
 * The one door into native code: loads the addon and types it.
 *
 * C++ asserts what TypeScript has checked; nothing else may load the `.node` file. `README.md` beside this
 * file lists threads and ownership. Long because all that C++ offers is typed here.
 */

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { NativeError } from '../errors.ts'

/** One per process. Owns the TLS threads, their listeners and every TLS connection. Main thread only. */
export interface Terminator {
  /**
   * Swaps all credentials at once; handshakes under way finish with the ones they began with.
   * @throws {NativeError} `ERR_NATIVE_OPENSSL` when OpenSSL refuses a certificate or a word of the policy; nothing changes then.
   */
  setCredentials(endpoints: readonly NativeEndpoint[]): void
  /** The first key encrypts, all decrypt. Copied before the call returns. 80 bytes each: name 16, HMAC 32, AES 32. */
  setTicketKeys(keys: readonly Uint8Array[]): void
  /**
   * Swaps all OCSP responses at once; handshakes under way give the one or the other. Copied before the call returns.
   * What has ended is not sent, also if nobody takes it back.
   */
  setStaples(staples: readonly NativeStaple[]): void
  /**
   * From now on clients of this listener are asked for a certificate; before `listen`, from the first one on.
   * Handshakes under way end with what they began with.
   * @throws {NativeError} `ERR_NATIVE_OPENSSL` when OpenSSL refuses an authority or a revocation list; nothing changes then.
   */
  setClientAuthentication(listenerId: number, authentication: NativeClientAuthentication): void
  /**
   * Opens the listener on every handshake thread (SO_REUSEPORT).
   * @returns the port, which matters when 0 was asked for.
   * @throws an Error with `code` `EADDRINUSE`, `EACCES`, …
   */
  listen(listener: NativeListener): number
  /** Accepts what is in the backlog, then closes the listening sockets; open connections go on. Idempotent. */
  stopListening(listenerId: number): void
  /** HTTP workers among which new connections of `http` listeners are spread, round-robin. */
  setReceivers(receiverIds: readonly number[]): void
  /**
   * Ends the suspension of one handshake: null fails it (alert internal_error), and the reason comes back in the
   * `handshake-failed` event. A handle that is gone is ignored.
   */
  finishSign(handle: number, signature: Uint8Array | null, reason?: string): void
  /** tcp mode: try these addresses in order; an empty list closes the connection. A handle that is gone is ignored. */
  connectUpstream(handle: number, addresses: readonly NativeAddress[], options: NativeConnectOptions): void
  /** Idle connections (no plaintext yet) are closed with close_notify; the others end by themselves. */
  drain(): void
  stats(): NativeStats
  /**
   * Closes everything now and joins the threads; tcp connections that it cuts off are in the last `onEvents`, before it
   * returns. Idempotent.
   */
  close(): void
}

/** Lives in an HTTP worker thread: gets the plaintext side of connections as file descriptors. */
export interface ConnectionReceiver {
  readonly id: number
  /** The connection ends with a TCP reset instead of close_notify: the peer must not take what it got for the whole. */
  abort(connectionId: number): void
  close(): void
}

/** What goes along with one certificate as its status, for clients that ask (RFC 6066 §8). */
export interface NativeStaple {
  /** SHA-256 of the leaf's DER, as an OcspSubject has it. */
  readonly fingerprint: Uint8Array
  /** DER OCSPResponse, verified; empty: there is none. */
  readonly response: Uint8Array
  /** Unix time in seconds: not sent from then on. */
  readonly endsS: number
  /** Without a response that is good now, a client that asks gets an alert; others are served. */
  readonly required: boolean
}

/**
 * The status of one certificate (RFC 6960): the request for it, and what an answer says. Knows no network and no clock.
 * Any thread; the certificates are copied.
 */
export interface OcspSubject {
  /** SHA-256 of the leaf's DER. */
  readonly fingerprint: Uint8Array
  /** URLs of the certificate's authorityInfoAccess (RFC 5280 §4.2.2.1), as they stand there. */
  readonly responders: readonly string[]
  /** TLS Feature status_request (RFC 7633). */
  readonly mustStaple: boolean
  /** DER OCSPRequest without a nonce; undefined without an issuer. */
  readonly request: Uint8Array | undefined
  /**
   * Whether the answer is whole, is for this certificate, and is signed by the issuer or by a responder that the issuer
   * names (RFC 6960 §4.2.2.2); and what it says then. Whether it is fresh enough is the caller's to judge.
   */
  read(response: Uint8Array): NativeOcspReading
}

export type NativeOcspReading =
  | {
      readonly status: 'good' | 'revoked' | 'unknown'
      /** Unix time in milliseconds, as all that follow. */
      readonly thisUpdateMs: number
      readonly nextUpdateMs: number | undefined
      /** notAfter of the signer's certificate. */
      readonly signerEndsMs: number | undefined
      readonly revokedMs: number | undefined
      /** RFC 5280 §5.3.1, e.g. `keyCompromise`. */
      readonly revokedReason: string | undefined
    }
  | { readonly status: 'refused'; readonly reason: OcspRefusal; readonly detail: string }

/** The responder's own error (RFC 6960 §4.2.1), or what is wrong with its answer. */
export type OcspRefusal =
  | 'malformed-request'
  | 'internal-error'
  | 'try-later'
  | 'signature-required'
  | 'unauthorized'
  | 'malformed'
  | 'other-certificate'
  | 'signature'
  | 'no-issuer'

/**
 * TLS handshakes against one server, as many and as fast as wanted: the load of a benchmark. On the loop of the thread
 * that has made it, without a callback: what has come of them is fetched with `take()`, every now and then.
 * It keeps its process alive until `close()`.
 */
export interface LoadClient {
  /** One full handshake that stays for a ticket, a second at most. `take()` has its record when that is over. */
  probe(): void
  /** Begins handshakes by this plan, now. Times of the records count from here. */
  start(plan: NativeLoadPlan): void
  /** Begins no more; those under way go on. */
  stop(): void
  take(): NativeLoadTaken
  /** Whatever is open is closed. Idempotent. */
  close(): void
}

export interface NativeLoadOptions {
  /** IP address. */
  readonly address: string
  readonly port: number
  /** RFC 6066 §3; empty: none is sent. */
  readonly serverName: string
  readonly version: TlsVersion
  /** Empty: ALPN is not spoken. */
  readonly alpn: readonly string[]
  /** Each certificate once, as long as the server shows the same. */
  readonly verify: boolean
  /** PEM, one after the other; for verify. */
  readonly authorities: string
  /** DNS name or IP address that the certificate must have; for verify. */
  readonly expectedName: string
  /** Of one handshake, from the start of its connection. */
  readonly timeoutMs: number
  /** End connections with a reset instead of close_notify and FIN. */
  readonly reset: boolean
  /** Read the tickets that come after a handshake: for resumption. */
  readonly tickets: boolean
  /**
   * Come from the addresses of 127.0.0.0/8 in turn: from this one of them, and with every connection so many further.
   * sourceStep 0: from where the kernel chooses.
   */
  readonly sourceFirst: number
  readonly sourceStep: number
}

export interface NativeLoadPlan {
  /** Closed loop: so many at a time; 0: open loop. */
  readonly connections: number
  /** Open loop: the first begins so long after the start, and every interval another one. */
  readonly firstMs: number
  readonly intervalMs: number
  /** Open loop: one that would be more is skipped. */
  readonly maxOpen: number
  /** Share of the handshakes that offer the newest ticket, 0 to 1. */
  readonly resumed: number
}

export interface NativeLoadTaken {
  /** Since the last call; four numbers each: intended, begun, finished (ms since `start()`), and a LoadOutcome. */
  readonly records: Float64Array
  /** What failed handshakes say: the outcome `LOAD_OUTCOME.failed + i` has failed with errors[i]. */
  readonly errors: readonly string[]
  /** Handshakes under way. */
  readonly open: number
  readonly hasTicket: boolean
}

/** load_client.h has the same numbers. */
export const LOAD_OUTCOME = { full: 0, resumed: 1, ticketRefused: 2, skipped: 3, failed: 4 } as const

export interface NativeAddon {
  /** From here on the process has so long to end by itself; then it ends with this status, whatever it is at. */
  exitWithin(limitMs: number, status: number): void
  /**
   * The calling thread, and each thread and process that it starts from here on, does not interrupt others when it wakes
   * up (SCHED_BATCH, sched(7)), and takes long slices of the processor (since Linux 6.12). One that has another policy
   * than SCHED_OTHER keeps it; outside of Linux nothing happens.
   *
   * @throws an Error with `code` (`EPERM`) when the kernel refuses.
   */
  scheduleAsBatch(): void
  /** The calling thread, if it is SCHED_BATCH, takes short slices, and is given the processor sooner (since Linux 6.12). */
  takeShortSlices(): void
  Terminator: new (options: TerminatorOptions) => Terminator
  /**
   * @param leaf DER. @param issuer DER; without it there is no request, and no answer is believed.
   * @throws {NativeError} `ERR_NATIVE_OPENSSL` when OpenSSL cannot read a certificate.
   */
  OcspSubject: new (
    leaf: Uint8Array,
    issuer?: Uint8Array,
  ) => OcspSubject
  /** @throws {NativeError} `ERR_NATIVE_OPENSSL` when an authority is no certificate. */
  LoadClient: new (
    options: NativeLoadOptions,
  ) => LoadClient
  /** @param onConnection `fd` is a connected stream socket that carries the plaintext; the callee owns it. */
  ConnectionReceiver: new (
    onConnection: (fd: number, connection: NativeEstablished) => void,
  ) => ConnectionReceiver
}

export interface TerminatorOptions {
  readonly threads: number
  readonly handshakeTimeoutMs: number
  /**
   * Every secret of every connection is appended to this descriptor, as NSS key log; borrowed. For debugging with
   * a packet capture; never otherwise.
   */
  readonly keyLogFd?: number
  /**
   * A handshake needs a signature; answered by `finishSign`, once.
   * @param scheme TLS SignatureScheme code point. @param message unhashed; the callee's own.
   */
  readonly onSign: (
    handle: number,
    keyId: number,
    scheme: number,
    message: Uint8Array,
    serverName: string | undefined,
    peer: string,
  ) => void
  /** tcp mode: connections whose handshake is done. Each is answered by `connectUpstream`, once. */
  readonly onEstablished: (connections: NativeEstablished[]) => void
  /** Things to log. */
  readonly onEvents: (events: NativeEvent[]) => void
}

/** Certificates of different key types for the same names; OpenSSL chooses by the client's signature algorithms. */
export interface NativeCredentials {
  /** Lower case, exact or `*.` for one label. */
  readonly names: readonly string[]
  readonly certificates: readonly {
    /** DER, leaf first. */
    readonly chain: readonly Uint8Array[]
    /** Comes back in `onSign`. */
    readonly keyId: number
  }[]
  /** OpenSSL's names, colon-separated, in preference order. */
  readonly signatureSchemes: string
}

/** The credentials as some listeners offer them. */
export interface NativeOffer extends NativeCredentials {
  readonly policy: NativePolicy
  /**
   * Code points. A client that can verify none of them gets TLS 1.2, because one of the keys can sign no other
   * version. Empty: no client is looked at.
   */
  readonly tls13Schemes: readonly number[]
}

/** What the listeners with these ids serve. Every listener needs one before it listens. */
export interface NativeEndpoint {
  readonly listenerIds: readonly number[]
  /** A server name that nobody has: the alert unrecognized_name (RFC 6066 §3) instead of the first credentials. */
  readonly refuseUnknownNames: boolean
  /** The first is the default. Not empty. */
  readonly credentials: readonly NativeOffer[]
}

/** OpenSSL's words, colon-separated, most wanted first. */
export interface NativePolicy {
  readonly minVersion: TlsVersion
  readonly maxVersion: TlsVersion
  /** Of TLS 1.2; empty where it is not spoken. */
  readonly ciphers: string
  /** Of TLS 1.3. */
  readonly ciphersuites: string
  readonly groups: string
  /** Sent after a full handshake in TLS 1.3 (in TLS 1.2 it is one); 0: no resumption at all. */
  readonly tickets: number
  readonly ticketLifetimeS: number
}

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

export interface NativeListener {
  /** Chosen by the caller, unique; comes back in facts, events and stats. */
  readonly id: number
  /** IP address. */
  readonly host: string
  readonly port: number
  readonly mode: 'http' | 'tcp'
  /** In preference order; empty: ALPN is not spoken. */
  readonly alpn: readonly string[]
  /** http: from the handshake to the first byte of plaintext. */
  readonly idleTimeoutMs: number
  /** Connections from here begin with a PROXY header, version 1 or 2; connections from elsewhere with TLS. */
  readonly proxyNetworks: readonly NativeNetwork[]
  /** Past it, new connections are closed unanswered; 0: no limit. */
  readonly maxConnections: number
  /**
   * Handshakes that move on at a time, as many again may wait for their signature: past the former, new connections are
   * closed unanswered; past the latter, a handshake that wants a signature fails. 0: no limit.
   */
  readonly maxHandshakes: number
  /** Of one client: an IPv4 address, an IPv6 /64, or whom the PROXY header names. As maxConnections otherwise. */
  readonly maxConnectionsPerAddress: number
}

export interface NativeConnectOptions {
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  /** What the upstream gets before the first byte of the client; may be empty. */
  readonly preface: Uint8Array
  /** Of the `connection-closed` event when there are no addresses; `upstream unreachable` without it. */
  readonly reason?: string
}

/** A range of addresses: 10.0.0.0/8 is `{ address: '10.0.0.0', prefix: 8 }`. */
export interface NativeNetwork {
  readonly address: string
  readonly prefix: number
}

/** All of it is applied inside the handshake: a client that is refused gets an alert. */
export interface NativeClientAuthentication {
  /** false: a client may show none; one that it shows must be good all the same. */
  readonly require: boolean
  /** DER: trust anchors, or intermediates beneath them. */
  readonly authorities: readonly Uint8Array[]
  /** DER; empty: revocation is not checked. */
  readonly revocationLists: readonly Uint8Array[]
  /** With lists: every certificate but the anchor needs one; false: only the leaf. */
  readonly checkWholeChain: boolean
  /** Intermediates between leaf and anchor at most. */
  readonly depth: number
  /** One that fits is enough; empty: every verified certificate. */
  readonly allow: readonly NativeAllowRule[]
  /** Tell `chain`, also of resumed connections; it makes tickets larger. */
  readonly keepChain: boolean
}

export interface NativeAllowRule {
  readonly kind: 'dns' | 'uri' | 'spiffe' | 'email' | 'spki'
  /** dns: exact or `*.`; uri, spiffe: exact or `…/*`; email: exact; spki: base64 of the SHA-256 (RFC 7469 §2.4). */
  readonly pattern: string
}

/** A verified client certificate. */
export interface NativePeerCertificate {
  /** DER of the leaf. */
  readonly certificate: Uint8Array
  /** DER: its issuers, nearest first, without the trust anchor; empty unless `keepChain`. */
  readonly chain: readonly Uint8Array[]
  /** RFC 2253; other than ASCII is escaped. */
  readonly subject: string
  /** Without control characters; undefined where there is none, or are several. */
  readonly commonName: string | undefined
  /** `DNS:…`, `URI:…`, `email:…`, `IP:…`; graphic ASCII. */
  readonly subjectAltNames: readonly string[]
  /** Hexadecimal, upper case. */
  readonly serial: string
  /** SHA-256 of the DER, hexadecimal, lower case. */
  readonly fingerprint: string
}

export interface NativeAddress {
  readonly host: string
  readonly port: number
}

/** A connection after its handshake, as everybody above TLS knows it. */
export interface NativeEstablished {
  readonly handle: number
  readonly listenerId: number
  readonly serverName: string | undefined
  readonly alpnProtocol: string | undefined
  readonly tlsVersion: string
  readonly cipher: string
  readonly resumed: boolean
  readonly peer: string
  readonly peerPort: number
  readonly localAddress: string
  readonly localPort: number
  /** tcp mode: ours, as this handshake has shown it. Absent after a resumed one, which shows none. */
  readonly certificate?: NativeShownCertificate | undefined
  /** Absent when the client has shown none; also of resumed connections. */
  readonly clientCertificate?: NativePeerCertificate | undefined
}

/** OpenSSL's and HAProxy's words. */
export interface NativeShownCertificate {
  /** e.g. `ecdsa-with-SHA256`, `RSA-SHA256` */
  readonly signatureAlgorithm: string
  /** e.g. `EC256`, `RSA2048`, `ED25519` */
  readonly keyAlgorithm: string
}

export type NativeEvent =
  | {
      readonly type: 'handshake-failed'
      readonly handle: number
      readonly listenerId: number
      readonly serverName: string | undefined
      readonly peer: string
      readonly peerPort: number
      /** `timeout`, `peer closed`, `no PROXY header`, what `finishSign` was told, or OpenSSL's reason, e.g. `no shared cipher`. */
      readonly reason: string
      readonly durationMs: number
    }
  | {
      /** tcp mode only: the connection has ended. */
      readonly type: 'connection-closed'
      readonly connection: NativeEstablished
      /** `host:port` that served it; undefined when none could be reached. */
      readonly upstream: string | undefined
      readonly bytesReceived: number
      readonly bytesSent: number
      readonly durationMs: number
      /**
       * `closed`, `upstream closed` (it takes no more of what the client still sends), `upstream reset`,
       * `connection reset`, `aborted`, `idle timeout`, `upstream unreachable`, `no upstream was chosen in time`,
       * `proxy stopped`, what `connectUpstream` was told, or OpenSSL's own text.
       */
      readonly reason: string
    }
  | { readonly type: 'connect-failed'; readonly upstream: string; readonly reason: string }
  | { readonly type: 'accept-failed'; readonly listenerId: number; readonly reason: string }

export interface NativeStats {
  /** Since start. */
  readonly handshakes: readonly {
    result: 'ok' | 'failed'
    tlsVersion: string
    resumed: boolean
    count: number
  }[]
  /** Upper bounds in seconds, without +Inf; counts are per bucket, not cumulative, with +Inf last. */
  readonly handshakeSeconds: readonly { resumed: boolean; bounds: number[]; counts: number[]; sum: number }[]
  readonly connections: readonly {
    listenerId: number
    handshaking: number
    idle: number
    active: number
    /** Since start, by the limit: `maxConnections`, `maxHandshakes`, `maxConnectionsPerAddress`. */
    refused: { connections: number; handshakes: number; address: number }
  }[]
  /** Handshakes suspended right now. */
  readonly signaturesPending: number
}

interface RawAddon extends NativeAddon {
  readonly abi: number
  /** What C++ needs of TypeScript. */
  initialize(errorClass: typeof NativeError, makeEstablished: typeof established): void
}

const ABI = 8

/** @throws {NativeError} `ERR_NATIVE_LOAD` with the command that builds the addon. */
export function loadAddon(): NativeAddon {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const require = createRequire(import.meta.url)
  let addon: RawAddon
  try {
    addon = require('node-gyp-build')(root) as RawAddon
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new NativeError(
      'ERR_NATIVE_LOAD',
      `the native addon does not load (build it with: npm run build:native): ${reason}`,
    )
  }
  if (addon.abi !== ABI) {
    throw new NativeError(
      'ERR_NATIVE_LOAD',
      `the native addon is of another version (${addon.abi}, wanted ${ABI}); build it with: npm run build:native`,
    )
  }
  addon.initialize(NativeError, established)
  return addon
}

/** Called by C++ for each connection: one call, and an object whose shape V8 knows, instead of a property at a time. */
function established(
  handle: number,
  listenerId: number,
  serverName: string | undefined,
  alpnProtocol: string | undefined,
  tlsVersion: string,
  cipher: string,
  resumed: boolean,
  peer: string,
  peerPort: number,
  localAddress: string,
  localPort: number,
  signatureAlgorithm: string,
  keyAlgorithm: string | undefined,
  clientCertificate: NativePeerCertificate | undefined,
): NativeEstablished {
  return {
    handle,
    listenerId,
    serverName,
    alpnProtocol,
    tlsVersion,
    cipher,
    resumed,
    peer,
    peerPort,
    localAddress,
    localPort,
    certificate: keyAlgorithm === undefined ? undefined : { signatureAlgorithm, keyAlgorithm },
    clientCertificate,
  }
}

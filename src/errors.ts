/**
 * Every failure Sealgate names: one base class, stable codes, and whose fault it is.
 *
 * A code is never renamed or re-used. What a peer sees is decided here, by two tables; the reason
 * itself goes to the log and never to the peer.
 */

export type Fault = 'operator' | 'downstream' | 'hsm' | 'upstream' | 'bug'

export class SealgateError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }

  /** Who has to act. */
  get fault(): Fault {
    return CODES[this.code].fault
  }

  /** May this same operation be tried on another member or server? */
  get retryable(): boolean {
    return CODES[this.code].retryable
  }
}

/** One thing that is wrong in a configuration, with the place and the cure. */
export interface ConfigProblem {
  readonly code: Extract<ErrorCode, `ERR_CONFIG_${string}`>
  readonly file: string
  /** 1-based; absent when the problem has no place in the file (the file is missing, say). */
  readonly line?: number
  readonly column?: number
  /** e.g. `hsms.hsm-a.sessions`; empty for the whole file. */
  readonly path: string
  readonly message: string
}

/** All problems of one configuration at once. */
export class ConfigError extends SealgateError {
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super(problems[0]?.code ?? 'ERR_CONFIG_VALUE', problems.map(problemText).join('\n'))
    this.problems = problems
  }
}

/** The addon did not load, or OpenSSL refused what it was given. */
export class NativeError extends SealgateError {
  /** OpenSSL's own error queue, oldest first; empty when OpenSSL was not involved. */
  readonly opensslErrors: readonly string[]

  constructor(
    code: Extract<ErrorCode, `ERR_NATIVE_${string}`>,
    message: string,
    opensslErrors: readonly string[] = [],
  ) {
    super(code, message)
    this.opensslErrors = opensslErrors
  }
}

/** A TLS or listener problem on this side. */
export class TlsError extends SealgateError {}

/** @param cause what `listen` failed with: an Error with a `code` such as `EADDRINUSE`. */
export function listenError(
  { host, port }: { readonly host: string; readonly port: number },
  cause: unknown,
): TlsError {
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const cure = LISTEN_CURES[code] ?? (cause instanceof Error ? cause.message : String(cause))
  return new TlsError('ERR_TLS_LISTEN', `cannot listen on ${place}: ${cure}`, { cause })
}

const LISTEN_CURES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use (see who has it: ss -ltnp); stop that program or choose another port',
  EACCES:
    'no permission for a port below 1024 (grant it: setcap cap_net_bind_service=+ep on node, or choose a higher port)',
  EADDRNOTAVAIL: 'this machine has no such address; use one that `ip addr` shows, or 0.0.0.0 for all',
}

/** An HSM, its module, its host process or the pool in front of them. */
export class HsmError extends SealgateError {
  /** Name in the configuration. */
  readonly hsm: string | undefined
  /** PKCS#11 return value, e.g. 0x30 for CKR_DEVICE_ERROR. */
  readonly rv: number | undefined
  /** PKCS#11 function, e.g. `C_Sign`. */
  readonly call: string | undefined
  /** All attempts, oldest first, when more than one was made. */
  readonly errors: readonly Error[]

  constructor(
    code: Extract<ErrorCode, `ERR_HSM_${string}`>,
    message: string,
    facts: { hsm?: string; rv?: number; call?: string; errors?: readonly Error[]; cause?: unknown } = {},
  ) {
    super(code, message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.hsm = facts.hsm
    this.rv = facts.rv
    this.call = facts.call
    this.errors = facts.errors ?? []
  }
}

/** The audit log: its file, its place, its room. */
export class AuditError extends SealgateError {}

/** The ticket keys that a fleet shares: their place, and what is found there. */
export class TicketsError extends SealgateError {}

/** A server of an upstream failed us. */
export class UpstreamError extends SealgateError {
  /** `host:port` of the server, when one was chosen. */
  readonly address: string | undefined

  constructor(
    code: Extract<ErrorCode, `ERR_UPSTREAM_${string}`>,
    message: string,
    facts: { address?: string; cause?: unknown } = {},
  ) {
    super(code, message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.address = facts.address
  }
}

/** A request that cannot be served as it stands. */
export class RequestError extends SealgateError {}

/** `file:line:column: path: message`, the form that editors and people jump to. */
export function problemText(problem: ConfigProblem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(':')
  return problem.path === ''
    ? `${place}: ${problem.message}`
    : `${place}: ${problem.path}: ${problem.message}`
}

interface CodeFacts {
  readonly fault: Fault
  readonly retryable: boolean
  /** HTTP status the downstream gets, when a request is what failed (RFC 9110 §15). */
  readonly status?: number
  /** Exit status of the process, when it cannot go on (sysexits.h). */
  readonly exit?: number
}

/** Code → effect. */
export const CODES = {
  ERR_USAGE: { fault: 'operator', retryable: false, exit: 64 },
  ERR_DRILL: { fault: 'operator', retryable: false, exit: 69 },
  ERR_CONFIG_FILE: { fault: 'operator', retryable: false, exit: 78 },
  ERR_CONFIG_SYNTAX: { fault: 'operator', retryable: false, exit: 78 },
  ERR_CONFIG_UNKNOWN_KEY: { fault: 'operator', retryable: false, exit: 78 },
  ERR_CONFIG_VALUE: { fault: 'operator', retryable: false, exit: 78 },
  ERR_CONFIG_SECRET: { fault: 'operator', retryable: false, exit: 78 },
  ERR_CONFIG_CERTIFICATE: { fault: 'operator', retryable: false, exit: 78 },
  ERR_CONFIG_RESTART: { fault: 'operator', retryable: false, exit: 78 },
  ERR_NATIVE_LOAD: { fault: 'operator', retryable: false, exit: 70 },
  ERR_NATIVE_OPENSSL: { fault: 'bug', retryable: false, exit: 70 },
  ERR_TLS_CLIENT_TRUST: { fault: 'operator', retryable: false, exit: 78 },
  ERR_TLS_LISTEN: { fault: 'operator', retryable: false, exit: 69 },
  ERR_HSM_MODULE: { fault: 'operator', retryable: true, exit: 69 },
  ERR_HSM_TOKEN_NOT_FOUND: { fault: 'operator', retryable: true, exit: 69 },
  ERR_HSM_PIN: { fault: 'operator', retryable: true, exit: 69 },
  ERR_HSM_KEY_NOT_FOUND: { fault: 'operator', retryable: true, exit: 69 },
  ERR_HSM_KEY_MISMATCH: { fault: 'operator', retryable: true, exit: 69 },
  ERR_HSM_MECHANISM: { fault: 'operator', retryable: true, exit: 69 },
  ERR_HSM_KEY_EXTRACTABLE: { fault: 'operator', retryable: false, exit: 69 },
  ERR_HSM_UNWRAP: { fault: 'operator', retryable: true, exit: 69 },
  ERR_HSM_REFUSED: { fault: 'bug', retryable: false },
  ERR_HSM_SESSION_LOST: { fault: 'hsm', retryable: true, exit: 69 },
  ERR_HSM_FAILED: { fault: 'hsm', retryable: true, exit: 69 },
  ERR_HSM_BAD_SIGNATURE: { fault: 'hsm', retryable: true, exit: 69 },
  ERR_HSM_HOST_EXITED: { fault: 'hsm', retryable: true, exit: 69 },
  ERR_HSM_SESSIONS_EXHAUSTED: { fault: 'hsm', retryable: false, exit: 69 },
  ERR_HSM_SIGN_TIMEOUT: { fault: 'hsm', retryable: false, exit: 69 },
  ERR_HSM_SIGN_ABANDONED: { fault: 'downstream', retryable: false },
  ERR_HSM_ALL_FAILED: { fault: 'hsm', retryable: false, exit: 69 },
  ERR_HSM_CLOSED: { fault: 'bug', retryable: false },
  ERR_TOKEN_CRASHED: { fault: 'hsm', retryable: false, exit: 69 },
  ERR_TOKEN_TIMEOUT: { fault: 'hsm', retryable: false, exit: 69 },
  ERR_KEYS_EXISTS: { fault: 'operator', retryable: false, exit: 64 },
  ERR_KEYS_IN_USE: { fault: 'operator', retryable: false, exit: 78 },
  ERR_KEYS_CERTIFICATE: { fault: 'operator', retryable: false, exit: 78 },
  ERR_KEYS_FILE: { fault: 'operator', retryable: false, exit: 69 },
  ERR_KEYS_ROTATION: { fault: 'operator', retryable: false, exit: 69 },
  ERR_AUDIT_FILE: { fault: 'operator', retryable: false, exit: 69 },
  ERR_AUDIT_LOCKED: { fault: 'operator', retryable: false, exit: 69 },
  ERR_AUDIT_FULL: { fault: 'operator', retryable: false },
  ERR_AUDIT_READ: { fault: 'operator', retryable: false, exit: 66 },
  ERR_BENCH_READ: { fault: 'operator', retryable: false, exit: 66 },
  ERR_BENCH_REPORT: { fault: 'operator', retryable: false, exit: 65 },
  ERR_BENCH_WRITE: { fault: 'operator', retryable: false, exit: 73 },
  ERR_BENCH_TARGET: { fault: 'operator', retryable: false, exit: 69 },
  ERR_TICKETS_PLACE: { fault: 'operator', retryable: true, exit: 69 },
  ERR_TICKETS_MALFORMED: { fault: 'operator', retryable: false, exit: 69 },
  ERR_TICKETS_OTHER_KEY: { fault: 'operator', retryable: false, exit: 69 },
  ERR_TICKETS_DATES: { fault: 'operator', retryable: false, exit: 69 },
  ERR_TICKETS_OLDER: { fault: 'operator', retryable: false, exit: 69 },
  ERR_TICKETS_ABSENT: { fault: 'operator', retryable: true, exit: 69 },
  ERR_UPSTREAM_CONNECT: { fault: 'upstream', retryable: true, status: 502 },
  ERR_UPSTREAM_TIMEOUT: { fault: 'upstream', retryable: false, status: 504 },
  ERR_UPSTREAM_RESET: { fault: 'upstream', retryable: true, status: 502 },
  ERR_UPSTREAM_PROTOCOL: { fault: 'upstream', retryable: false, status: 502 },
  ERR_UPSTREAM_NONE_AVAILABLE: { fault: 'upstream', retryable: false, status: 503 },
  ERR_REQUEST_MALFORMED: { fault: 'downstream', retryable: false, status: 400 },
  ERR_REQUEST_TIMEOUT: { fault: 'downstream', retryable: false, status: 408 },
  ERR_REQUEST_HEADERS_TOO_LARGE: { fault: 'downstream', retryable: false, status: 431 },
  ERR_REQUEST_METHOD: { fault: 'downstream', retryable: false, status: 501 },
  ERR_REQUEST_MISDIRECTED: { fault: 'downstream', retryable: false, status: 421 },
  ERR_REQUEST_CLIENT_CERTIFICATE: { fault: 'downstream', retryable: false, status: 403 },
  ERR_REQUEST_NO_ROUTE: { fault: 'downstream', retryable: false, status: 404 },
  ERR_REQUEST_ABORTED: { fault: 'downstream', retryable: false, status: 499 },
} as const satisfies Record<string, CodeFacts>

export type ErrorCode = keyof typeof CODES

/** Exit status for an error that ends the process; 70 (EX_SOFTWARE) for what nobody foresaw. */
export function exitStatus(error: unknown): number {
  if (!(error instanceof SealgateError)) return 70
  const facts: CodeFacts = CODES[error.code]
  return facts.exit ?? 70
}

/** HTTP status for an error that ends a request; 500 for what nobody foresaw. */
export function httpStatus(error: unknown): number {
  if (!(error instanceof SealgateError)) return 500
  const facts: CodeFacts = CODES[error.code]
  return facts.status ?? 500
}

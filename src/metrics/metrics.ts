/**
 * Every metric Sealgate exports: name, labels, help. Names and labels are an interface and never change.
 *
 * The parts receive a value made here; tests and tools make their own with `createMetrics()`. HTTP workers
 * have one each; the admin endpoint adds them up. What the TLS threads count is read at scrape time
 * (see tls-metrics.ts). Long because it is a list.
 */

import { Counter, Gauge, Registry } from 'prom-client'
import { SeriesCounter, SeriesHistogram } from './series.ts'

// 50 µs (SoftHSM, ECDSA) to 5 s (past every sensible deadline).
const SIGN_BUCKETS_S = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
]
// 500 µs (a local upstream) to 60 s (the default response timeout).
const REQUEST_BUCKETS_S = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
]

export type Metrics = ReturnType<typeof createMetrics>

export function createMetrics() {
  const registry = new Registry()
  const registers = [registry]
  return {
    registry,

    handshakeFailures: new Counter({
      name: 'sealgate_handshake_failures_total',
      help: 'TLS handshakes that failed, by reason; client_certificate_... where a client certificate was refused.',
      labelNames: ['listener', 'reason'],
      registers,
    }),
    tcpConnections: new Counter({
      name: 'sealgate_tcp_connections_total',
      help: 'Connections in tcp mode that ended, by how (closed, reset, timeout, unreachable, no_route, stopped or error).',
      labelNames: ['listener', 'result'],
      registers,
    }),
    acceptFailures: new Counter({
      name: 'sealgate_accept_failures_total',
      help: 'Connections that could not be taken for want of descriptors, memory or an HTTP worker.',
      labelNames: ['listener'],
      registers,
    }),
    handshakesLimited: new Counter({
      name: 'sealgate_handshakes_limited_total',
      help: 'Full handshakes past a limit (total or address), and whether they waited or were refused.',
      labelNames: ['limit', 'outcome'],
      registers,
    }),
    ticketKeys: new Gauge({
      name: 'sealgate_ticket_keys',
      help: 'Session-ticket keys that open tickets now, by source: local (of this process) or shared (of the fleet).',
      labelNames: ['source'],
      registers,
    }),
    ticketKeysInUse: new Gauge({
      name: 'sealgate_ticket_keys_in_use',
      help: '1 for the source whose key makes new tickets.',
      labelNames: ['source'],
      registers,
    }),
    ticketKeySince: new Gauge({
      name: 'sealgate_ticket_key_since_timestamp_seconds',
      help: 'When the turn of the newest key of the source began, Unix time; 0: it has none.',
      labelNames: ['source'],
      registers,
    }),
    ticketKeyNext: new Gauge({
      name: 'sealgate_ticket_key_next_timestamp_seconds',
      help: 'When the next key of the source has its turn, Unix time; 0: there is none.',
      labelNames: ['source'],
      registers,
    }),
    ticketRotations: new Counter({
      name: 'sealgate_ticket_rotations_total',
      help: 'Sets of shared ticket keys that this process has made for the fleet.',
      registers,
    }),
    ticketErrors: new Counter({
      name: 'sealgate_ticket_errors_total',
      help: 'Looks at the shared ticket keys that failed, by error code.',
      labelNames: ['reason'],
      registers,
    }),
    signatures: new SeriesCounter({
      name: 'sealgate_signatures_total',
      help: 'Signature attempts that ended, by HSM, TLS signature scheme and result (ok or the error code).',
      labelNames: ['hsm', 'scheme', 'result'],
      registers,
    }),
    signSeconds: new SeriesHistogram({
      name: 'sealgate_sign_seconds',
      help: 'Time in the HSM: C_SignInit and C_Sign, without queueing.',
      labelNames: ['hsm', 'scheme'],
      buckets: SIGN_BUCKETS_S,
      registers,
    }),
    signWaitSeconds: new SeriesHistogram({
      name: 'sealgate_sign_wait_seconds',
      help: 'Time a signature waited for a member with a free session.',
      labelNames: ['hsm', 'scheme'],
      buckets: SIGN_BUCKETS_S,
      registers,
    }),
    signRetries: new Counter({
      name: 'sealgate_sign_retries_total',
      help: 'Signatures tried again on another member, by the member that failed and its error code.',
      labelNames: ['hsm', 'reason'],
      registers,
    }),
    signHedges: new Counter({
      name: 'sealgate_sign_hedges_total',
      help: 'Signatures asked of a second member because the first was slow, by the slow member.',
      labelNames: ['hsm', 'reason'],
      registers,
    }),
    hsmUp: new Gauge({
      name: 'sealgate_hsm_up',
      help: '1 when the member signs, 0 when it does not.',
      labelNames: ['hsm'],
      registers,
    }),
    hsmState: new Gauge({
      name: 'sealgate_hsm_state',
      help: '1 for the state that the member is in (starting, proving, up, resting, recovering, down, failed, closed).',
      labelNames: ['hsm', 'state'],
      registers,
    }),
    hsmStateSince: new Gauge({
      name: 'sealgate_hsm_state_since_timestamp_seconds',
      help: 'When that state began, Unix time.',
      labelNames: ['hsm'],
      registers,
    }),
    hsmRests: new Counter({
      name: 'sealgate_hsm_rests_total',
      help: 'Times that the breaker of the member opened, by the error code that did it.',
      labelNames: ['hsm', 'reason'],
      registers,
    }),
    hsmTests: new Counter({
      name: 'sealgate_hsm_test_signatures_total',
      help: 'Test signatures that decide whether a member may sign (again), by result (ok or the error code).',
      labelNames: ['hsm', 'result'],
      registers,
    }),
    hsmLogins: new Counter({
      name: 'sealgate_hsm_logins_total',
      help: 'Logins with the PIN that the token took or refused, by result (ok or the error code).',
      labelNames: ['hsm', 'result'],
      registers,
    }),
    hsmSessions: new Gauge({
      name: 'sealgate_hsm_sessions',
      help: 'PKCS#11 sessions open for signing.',
      labelNames: ['hsm'],
      registers,
    }),
    signsInFlight: new Gauge({
      name: 'sealgate_signs_in_flight',
      help: 'Signatures asked of the member and not answered yet.',
      labelNames: ['hsm'],
      registers,
    }),
    signsInFlightLimit: new Gauge({
      name: 'sealgate_signs_in_flight_limit',
      help: 'Signatures that the member may be asked for at once: found by latency and throttling, at most its sessions.',
      labelNames: ['hsm'],
      registers,
    }),
    hsmThrottled: new Counter({
      name: 'sealgate_hsm_throttled_total',
      help: 'Answers by which the HSM said that it is asked for too much, such as CKR_FUNCTION_FAILED.',
      labelNames: ['hsm'],
      registers,
    }),
    signsWaiting: new Gauge({
      name: 'sealgate_signs_waiting',
      help: 'Signatures that wait for a member with room, by key (its URI).',
      labelNames: ['key'],
      registers,
    }),
    signsAbandoned: new Counter({
      name: 'sealgate_signs_abandoned_total',
      help: 'Signatures given up before an HSM was asked, because the client had left, by key (its URI).',
      labelNames: ['key'],
      registers,
    }),
    keyMembersReady: new Gauge({
      name: 'sealgate_key_hsms_ready',
      help: 'HSMs that sign with the key now; 0 is an outage.',
      labelNames: ['key'],
      registers,
    }),
    hsmErrors: new Counter({
      name: 'sealgate_hsm_errors_total',
      help: 'PKCS#11 calls that failed, by return value (CKR_...).',
      labelNames: ['hsm', 'rv'],
      registers,
    }),
    hsmRecoveries: new Counter({
      name: 'sealgate_hsm_recoveries_total',
      help: 'Rungs of the recovery ladder that were taken: session, login, keys, module, host (a new process).',
      labelNames: ['hsm', 'rung'],
      registers,
    }),
    hsmRestarts: new Counter({
      name: 'sealgate_hsm_host_restarts_total',
      help: 'Host processes started again after they ended.',
      labelNames: ['hsm'],
      registers,
    }),

    auditRecords: new Counter({
      name: 'sealgate_audit_records_total',
      help: 'Records put into the chain of the audit log, by type.',
      labelNames: ['type'],
      registers,
    }),
    auditLost: new Counter({
      name: 'sealgate_audit_lost_total',
      help: 'Records that found no room (overflow: count); their number is itself a record.',
      registers,
    }),
    auditErrors: new Counter({
      name: 'sealgate_audit_errors_total',
      help: 'Failed tries to write the audit log, by errno (ENOSPC, EACCES, ...).',
      labelNames: ['reason'],
      registers,
    }),
    auditUp: new Gauge({
      name: 'sealgate_audit_up',
      help: '1 when the last write succeeded, 0 while records stay in the buffer.',
      registers,
    }),
    auditBuffered: new Gauge({
      name: 'sealgate_audit_buffered_bytes',
      help: 'Records that are not in the file yet.',
      registers,
    }),
    auditWaiting: new Gauge({
      name: 'sealgate_audit_waiting',
      help: 'Signatures that wait for room in the audit log (overflow: block).',
      registers,
    }),
    auditCheckpoints: new Counter({
      name: 'sealgate_audit_checkpoints_total',
      help: 'Checkpoints of the audit log, by result (ok or the error code).',
      labelNames: ['result'],
      registers,
    }),

    requests: new SeriesCounter({
      name: 'sealgate_requests_total',
      help: 'HTTP requests that ended, by status class (2xx ... 5xx, or aborted).',
      labelNames: ['listener', 'upstream', 'status'],
      registers,
    }),
    requestFailures: new Counter({
      name: 'sealgate_request_failures_total',
      help: 'HTTP requests that were refused or failed, by error code.',
      labelNames: ['listener', 'code'],
      registers,
    }),
    requestSeconds: new SeriesHistogram({
      name: 'sealgate_request_seconds',
      help: 'From the end of the request headers to the last byte of the response.',
      labelNames: ['listener', 'upstream', 'status'],
      buckets: REQUEST_BUCKETS_S,
      registers,
    }),
    upstreamSeconds: new SeriesHistogram({
      name: 'sealgate_upstream_seconds',
      help: 'From dispatch to the upstream to its response headers.',
      labelNames: ['listener', 'upstream', 'status'],
      buckets: REQUEST_BUCKETS_S,
      registers,
    }),

    logLinesLost: new Counter({
      name: 'sealgate_log_lines_lost_total',
      help: 'Log lines, of requests too, that standard output did not take and nobody will see.',
      registers,
    }),

    ocspStapled: new Gauge({
      name: 'sealgate_ocsp_stapled',
      help: '1 while an OCSP response is in force for the certificate, 0 while there is none.',
      labelNames: ['name', 'key_type'],
      registers,
    }),
    ocspRequired: new Gauge({
      name: 'sealgate_ocsp_required',
      help: '1 for a certificate that must not be without an OCSP response (must-staple, or missing: refuse), else 0.',
      labelNames: ['name', 'key_type'],
      registers,
    }),
    ocspNextUpdate: new Gauge({
      name: 'sealgate_ocsp_next_update_timestamp_seconds',
      help: 'When the OCSP response in force ends, Unix time; absent while there is none.',
      labelNames: ['name', 'key_type'],
      registers,
    }),
    ocspRefreshes: new Counter({
      name: 'sealgate_ocsp_refreshes_total',
      help: 'Tries to get a new OCSP response, by result (good, revoked, or what went wrong).',
      labelNames: ['name', 'key_type', 'result'],
      registers,
    }),
    certificateExpiry: new Gauge({
      name: 'sealgate_certificate_expiry_timestamp_seconds',
      help: 'notAfter of the certificate, Unix time.',
      labelNames: ['name', 'key_type'],
      registers,
    }),
    certificateExpiryWarning: new Gauge({
      name: 'sealgate_certificate_expiry_warning',
      help: '1 when the certificate, or an issuer in its chain, expires within so many days (30, 14, 7, 1; 0: it has).',
      labelNames: ['name', 'key_type', 'days'],
      registers,
    }),

    reloads: new Counter({
      name: 'sealgate_reloads_total',
      help: 'Changes of the configuration or of its files while running: ok, or refused, which changes nothing.',
      labelNames: ['result'],
      registers,
    }),
    lastReloadSuccessful: new Gauge({
      name: 'sealgate_last_reload_successful',
      help: '1 when everything that was changed is in force; 0 when a change was refused, until one like it is taken up.',
      registers,
    }),
    lastReloadSuccess: new Gauge({
      name: 'sealgate_last_reload_success_timestamp_seconds',
      help: 'When a configuration was last taken up, the start included, Unix time.',
      registers,
    }),
  }
}

/** What is counted elsewhere, shown at a scrape. */
export function setTo(counter: Counter, value: number): void {
  counter.reset()
  counter.inc(value)
}

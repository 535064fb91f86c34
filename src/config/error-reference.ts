/** What each error code means and what to do about it; the compiler asks for a row per code. */

import type { ErrorCode } from '../errors.ts'

export const ERROR_REFERENCE = {
  ERR_USAGE: { means: 'The command line is not understood.', cure: 'See `sealgate --help`.' },
  ERR_DRILL: {
    means: 'The fault module cannot be built, or its control file cannot be written.',
    cure: 'The message names the cure.',
  },
  ERR_CONFIG_FILE: {
    means: 'The configuration file is missing, empty or unreadable.',
    cure: 'Name it with `--config`.',
  },
  ERR_CONFIG_SYNTAX: {
    means: 'The file is not YAML at the line and column given.',
    cure: 'Check indentation and quotes there.',
  },
  ERR_CONFIG_UNKNOWN_KEY: {
    means: 'A key that Sealgate does not know.',
    cure: 'Take the suggestion, or see the tables above.',
  },
  ERR_CONFIG_VALUE: {
    means: 'A value, a file or a reference is wrong.',
    cure: 'The message names the cure.',
  },
  ERR_CONFIG_SECRET: {
    means: 'A PIN or private key stands where it must not, or the PIN cannot be found.',
    cure: 'Put the PIN into a file of its own; change one that has been written down elsewhere.',
  },
  ERR_CONFIG_CERTIFICATE: {
    means: 'A certificate chain cannot be used.',
    cure: 'PEM, leaf first, then the intermediates.',
  },
  ERR_CONFIG_RESTART: {
    means: 'A reload found a change in a key that cannot change while Sealgate runs; nothing was applied.',
    cure: 'Take the change back, or restart.',
  },
  ERR_NATIVE_LOAD: {
    means: 'The native addon does not load.',
    cure: '`npm run build:native`, with the Node that runs Sealgate.',
  },
  ERR_NATIVE_OPENSSL: {
    means: 'OpenSSL refused something Sealgate gave it.',
    cure: "Report it with the message: OpenSSL's own errors are in it.",
  },
  ERR_TLS_CLIENT_TRUST: {
    means:
      'OpenSSL refuses a CA or a revocation list of `client_certificate`, e.g. one that its issuer has not signed.',
    cure: 'Fetch the file that the message names again from the CA.',
  },
  ERR_TLS_LISTEN: {
    means: 'An address cannot be listened on.',
    cure: 'Free the port, choose another address, or give the privilege for ports below 1024.',
  },
  ERR_HSM_MODULE: {
    means: 'The PKCS#11 module does not load or does not initialise.',
    cure: 'Check `module`, its libraries (`ldd`) and the environment it needs (`env`).',
  },
  ERR_HSM_TOKEN_NOT_FOUND: {
    means: 'The module shows no such token.',
    cure: 'Compare `token`, `serial` or `slot` with `pkcs11-tool --module MODULE -T`.',
  },
  ERR_HSM_PIN: {
    means: 'The token refused the PIN, is locked, or has one try left. Never tried again by itself.',
    cure: 'Correct the PIN, then restart.',
  },
  ERR_HSM_KEY_NOT_FOUND: {
    means: 'The token has no such private key, or hides it from this user.',
    cure: 'Compare `object` and `id` of the URI with `pkcs11-tool --module MODULE -O`.',
  },
  ERR_HSM_KEY_MISMATCH: {
    means: "The certificate's public key is not that of the key in the HSM.",
    cure: 'Pair the certificate with the key it was issued for.',
  },
  ERR_HSM_MECHANISM: {
    means: 'The token cannot sign in a way that TLS needs.',
    cure: 'Use a key type that it signs with, see `pkcs11-tool --module MODULE -M`.',
  },
  ERR_HSM_KEY_EXTRACTABLE: {
    means: 'The AES key of `tls.tickets.shared.key` can be read out of the token; it is not used.',
    cure: 'Generate another one with CKA_SENSITIVE and without CKA_EXTRACTABLE (src/tickets/README.md).',
  },
  ERR_HSM_UNWRAP: {
    means: 'The HSM does not open the shared ticket keys: wrapped by another AES key, or altered.',
    cure: 'All nodes need the same AES key; if they have it, `sealgate tickets rotate --replace`.',
  },
  ERR_HSM_REFUSED: {
    means: 'The host process was asked to sign what is no TLS handshake.',
    cure: 'Report it; if it is no bug, somebody is using the front process.',
  },
  ERR_HSM_SESSION_LOST: {
    means: 'The token dropped a session; it is opened again.',
    cure: 'None, unless it goes on: look at the HSM and the network to it.',
  },
  ERR_HSM_FAILED: {
    means: 'A PKCS#11 call failed; the message has the function and its CKR code.',
    cure: "Look up the code in the vendor's documentation.",
  },
  ERR_HSM_BAD_SIGNATURE: {
    means: 'A signature did not verify; it was not sent.',
    cure: 'Take the HSM out of service: it may be faulty.',
  },
  ERR_HSM_HOST_EXITED: {
    means: 'The host process of an HSM ended; it is started again.',
    cure: "Look at the log lines before it: most often the vendor's module crashed.",
  },
  ERR_HSM_SESSIONS_EXHAUSTED: {
    means: '`signing.queue` signatures are waiting already.',
    cure: 'More HSMs or sessions, or fewer full handshakes (resumption).',
  },
  ERR_HSM_SIGN_TIMEOUT: {
    means: 'No signature within `signing.timeout`, waiting included.',
    cure: 'Compare `sealgate_sign_wait_seconds` (too few sessions) with `sealgate_sign_seconds` (a slow HSM).',
  },
  ERR_HSM_SIGN_ABANDONED: {
    means: 'The client left while its handshake waited for a signature, and no HSM was asked any more.',
    cure: 'None, if they are few; else see why signatures wait (`sealgate_sign_wait_seconds`).',
  },
  ERR_HSM_ALL_FAILED: {
    means: 'Every member that was asked failed; all attempts are in the log.',
    cure: 'Look at the first attempt.',
  },
  ERR_HSM_CLOSED: { means: 'A signature was asked for after the end.', cure: 'Report it.' },
  ERR_TOKEN_CRASHED: {
    means: 'The PKCS#11 module crashed the process of an operator’s command.',
    cure: 'The message has what it printed; ask the vendor for a newer module.',
  },
  ERR_TOKEN_TIMEOUT: {
    means: 'The PKCS#11 module did not answer an operator’s command in time.',
    cure: 'See whether the HSM is reachable and its vendor’s own tool gets an answer.',
  },
  ERR_KEYS_EXISTS: {
    means: 'The token has a key with this label or id already.',
    cure: 'Choose another; `sealgate keys list` shows what is there.',
  },
  ERR_KEYS_IN_USE: {
    means: 'A key that a configuration uses, or that a rotation still needs, is not destroyed.',
    cure: 'Take it out of the configuration first (`sealgate keys rotate`).',
  },
  ERR_KEYS_CERTIFICATE: {
    means: 'A certificate does not fit: another key, expired, in the wrong order, fewer names than before.',
    cure: 'The message names the certificate and the cure.',
  },
  ERR_KEYS_FILE: {
    means: 'A file of a `keys` command cannot be read or written.',
    cure: 'Correct the path or the permissions; nothing was changed.',
  },
  ERR_KEYS_ROTATION: {
    means: 'A rotation cannot take its next step.',
    cure: 'The message says what it waits for; run the command again then.',
  },
  ERR_AUDIT_FILE: {
    means: 'The audit log cannot be opened at the start.',
    cure: 'Give the user that runs Sealgate the right to write in its directory.',
  },
  ERR_AUDIT_LOCKED: {
    means: 'Another live process writes the same audit log.',
    cure: 'One file per process: change `audit.file`, or stop the other one.',
  },
  ERR_AUDIT_FULL: {
    means: 'A signature waited for room in the audit log until `signing.timeout` (`overflow: block`).',
    cure: 'Free the disk; `sealgate_audit_errors_total` has the reason.',
  },
  ERR_AUDIT_READ: {
    means: '`sealgate audit verify` cannot read a file it was given.',
    cure: 'Name the files of the log, all of them: `audit.jsonl*`.',
  },
  ERR_BENCH_READ: {
    means: 'A report of `sealgate bench` cannot be read.',
    cure: 'Name the file that `--json FILE` has written.',
  },
  ERR_BENCH_REPORT: {
    means: 'A file is no report of `sealgate bench sign`, is damaged, or is of another version.',
    cure: 'Measure again with `sealgate bench sign --json FILE`.',
  },
  ERR_BENCH_WRITE: {
    means: 'A report of `sealgate bench` cannot be written.',
    cure: 'The message names the file and the reason.',
  },
  ERR_BENCH_TARGET: {
    means:
      'The listener that `sealgate bench handshake` was to drive is not there, or refuses its handshakes.',
    cure: 'The message names the reason; an alert is explained in the log of the server.',
  },
  ERR_TICKETS_PLACE: {
    means:
      'The place of the shared ticket keys cannot be read or written; the node goes on with what it has.',
    cure: 'Look at the file, the mount or Redis that the message names.',
  },
  ERR_TICKETS_MALFORMED: {
    means: 'What lies in the place of the shared ticket keys is no such set, cut off, or too large.',
    cure: '`sealgate tickets rotate --replace` writes a new set.',
  },
  ERR_TICKETS_OTHER_KEY: {
    means: 'The shared ticket keys say that another AES key has wrapped them.',
    cure: 'The same `tls.tickets.shared.key.uri` on all nodes, or another place for each fleet.',
  },
  ERR_TICKETS_DATES: {
    means: 'The shared ticket keys have all expired, or none is valid yet.',
    cure: 'Does anybody rotate (`sealgate tickets show`)? Do the clocks agree?',
  },
  ERR_TICKETS_OLDER: {
    means: 'The place holds an older set than the one in use; it is not taken.',
    cure: 'Was a backup restored? `sealgate tickets rotate` ends it.',
  },
  ERR_TICKETS_ABSENT: {
    means: 'There are no shared ticket keys yet, and this node may not write them.',
    cure: '`sealgate tickets rotate`, from where the place can be written.',
  },
  ERR_UPSTREAM_CONNECT: {
    means: 'No connection to a server of the upstream.',
    cure: 'Is it running, and on that address?',
  },
  ERR_UPSTREAM_TIMEOUT: {
    means: 'A server did not answer within `response_timeout`.',
    cure: 'Look at the server, or raise the timeout for slow answers.',
  },
  ERR_UPSTREAM_RESET: {
    means: 'A server closed the connection before it had answered.',
    cure: "Keep `keep_alive` below the server's own idle timeout; else look at the server.",
  },
  ERR_UPSTREAM_PROTOCOL: {
    means: 'A server answered with something that is not HTTP/1.1.',
    cure: 'Does the port speak plain HTTP?',
  },
  ERR_UPSTREAM_NONE_AVAILABLE: {
    means: 'No server of the upstream can be used now.',
    cure: 'Look at the servers; the lines before say what failed.',
  },
  ERR_REQUEST_MALFORMED: {
    means: 'The client sent something that is not HTTP, or a path that servers read differently.',
    cure: 'None on this side.',
  },
  ERR_REQUEST_TIMEOUT: {
    means: 'The headers did not arrive within `header_timeout`, or nothing of the body within a minute.',
    cure: 'None on this side; raise it for very slow clients.',
  },
  ERR_REQUEST_METHOD: {
    means: 'A method that is not passed on, such as CONNECT or TRACE.',
    cure: 'None on this side.',
  },
  ERR_REQUEST_HEADERS_TOO_LARGE: {
    means: 'The headers are larger than `max_header`.',
    cure: 'Raise it if the request is legitimate.',
  },
  ERR_REQUEST_MISDIRECTED: {
    means: "The request's host is not on the certificate of its connection.",
    cure: 'None for browsers: they come again over another connection. Else let the client send the host as server name, or set `misdirected: serve`.',
  },
  ERR_REQUEST_CLIENT_CERTIFICATE: {
    means: 'The route requires a client certificate, and the connection has none.',
    cure: 'The client shows one; a browser asks for it on a new connection. Or take `client_certificate` off the route.',
  },
  ERR_REQUEST_NO_ROUTE: {
    means: 'No route matches host and path.',
    cure: 'Add a route without `match` at the end to serve the rest.',
  },
  ERR_REQUEST_ABORTED: {
    means: 'The answer was cut off: the client left, or the proxy stopped and waited no longer.',
    cure: 'None on this side; a longer `drain_timeout` where the proxy cut it off.',
  },
} as const satisfies Record<ErrorCode, { means: string; cure: string }>

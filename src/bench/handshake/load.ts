/** The client processes of `bench handshake`, as the command sees them. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

import { SealgateError } from '../../errors.ts'
import { NODE_ARGUMENTS } from '../../hsm/host-process.ts'
import { type ClientMessage, type ClientOrder, type ClientResult, clientMessageSchema } from './messages.ts'

/** One process that makes handshakes. */
export class LoadProcess {
  readonly #child: ChildProcess
  /** Settles with what it has counted. */
  #result: Promise<ClientResult> | undefined
  #done = 0
  #failed = 0

  constructor() {
    this.#child = fork(new URL('./client-main.js', import.meta.url), [], {
      execArgv: [...NODE_ARGUMENTS],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
  }

  /** Handshakes in the measured time so far. */
  get progress(): { readonly done: number; readonly failed: number } {
    return { done: this.#done, failed: this.#failed }
  }

  /** Makes one handshake, to see that it can. @throws {SealgateError} `ERR_BENCH_TARGET` */
  async prepare(order: ClientOrder): Promise<void> {
    this.#child.send(order)
    const message = await this.#next((kind) => kind === 'ready' || kind === 'failed')
    if (message.kind === 'failed') throw targetError(order, message.message)
  }

  /** Begins; `result()` has the end. */
  start(): void {
    this.#child.send('start')
    this.#result = this.#next((kind) => kind === 'result').then((message) => {
      if (message.kind !== 'result') throw new Error(`a client has said ${message.kind}`)
      return message.result
    })
  }

  result(): Promise<ClientResult> {
    if (this.#result === undefined) throw new Error('it was not started')
    return this.#result
  }

  /** Before its time; the result has what was measured. */
  stop(): void {
    if (this.#child.connected) this.#child.send('stop')
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect()
  }

  async #next(wanted: (kind: ClientMessage['kind']) => boolean): Promise<ClientMessage> {
    const gone = new AbortController()
    const exited = once(this.#child, 'exit', { signal: gone.signal }).then(([status, by]) => {
      const how = by === null ? `with status ${status}` : `by ${by}; has this machine enough memory?`
      throw new SealgateError('ERR_BENCH_TARGET', `a client process was ended before its time, ${how}`)
    })
    // It loses the race when all is well, and is aborted then.
    exited.catch(() => {})
    try {
      for (;;) {
        const [received] = await Promise.race([once(this.#child, 'message', { signal: gone.signal }), exited])
        const message = clientMessageSchema.parse(received)
        if (message.kind === 'progress') {
          this.#done = message.done
          this.#failed = message.failed
        }
        if (wanted(message.kind)) return message
      }
    } finally {
      gone.abort()
    }
  }
}

function targetError({ address, port, servername }: ClientOrder, reason: string): SealgateError {
  const place = `${servername ?? address} (${address}, port ${port})`
  const hint = HINTS.find(([pattern]) => pattern.test(reason))?.[1]
  return new SealgateError(
    'ERR_BENCH_TARGET',
    `no handshake with ${place}: ${reason}${hint === undefined ? '' : `; ${hint}`}`,
  )
}

/** What the kernel and OpenSSL say, and what helps. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'nobody listens there'],
  [/ETIMEDOUT/, 'nothing answers there: is it the right address, and does a firewall let it through?'],
  [/EHOSTUNREACH|ENETUNREACH/, 'there is no way to that address'],
  [
    /self.signed|unable to (?:get|verify)|issuer certificate/i,
    'give its CA with --cacert FILE, or --insecure not to verify',
  ],
  [
    /(?:hostname|IP address) mismatch/i,
    'give the name that is in the certificate with --servername NAME, or --insecure',
  ],
  [/expired/i, 'renew it, or give --insecure not to verify'],
  [
    /certificate required|bad certificate/i,
    'the listener wants a client certificate, which this load generator has not',
  ],
  [/wrong version number|packet length too long/i, 'is it a TLS port?'],
  [/protocol version/i, 'the server does not speak this version: give --tls 1.3 or --tls 1.2'],
  [/no application protocol/i, 'the server does not know that protocol: --alpn'],
  [/handshake failure|internal error/i, "the reason is in the server's log"],
  [
    /ECONNRESET|EPIPE|unexpected eof|closed by the server/i,
    'the server closed the connection; its log may say why',
  ],
]

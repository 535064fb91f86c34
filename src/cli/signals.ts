/**
 * What signals do to a running proxy.
 *
 *   starting ──▶ running ──TERM──▶ draining ──▶ stopped, status 0
 *      │            │                 └──TERM──▶ stopped now, status 128 + signal
 *      │            └── it fails: stopped now, and the reason is thrown
 *      └──TERM: the start is cut short, and drained; a second one does not wait for that
 *
 * HUP reloads while it runs; one that comes during the start reloads right after it, and none
 * during a stop. USR1 does nothing, and the log says why.
 */

import { constants } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { Log } from '../log.ts'

/** What can be stopped; the proxy as a whole. */
export interface Stoppable {
  /** Never resolves; rejects when it cannot go on by itself. */
  readonly failed: Promise<never>
  /** Takes up what has changed, in its own time. */
  reload(): void
  /** Settles when what was under way has ended. */
  drain(): Promise<void>
  /** Ends everything now. */
  destroy(): Promise<void>
}

type StopSignal = 'SIGTERM' | 'SIGINT'
type Signal = StopSignal | 'SIGHUP' | 'SIGUSR1'

/** The part of `process` that is needed. */
export interface SignalSource {
  on(signal: Signal, listener: (signal: Signal) => void): unknown
  off(signal: Signal, listener: (signal: Signal) => void): unknown
}

/**
 * Starts, and stops when told to.
 *
 * @returns the exit status.
 * @throws what `start` throws, or `drain`, or what `failed` rejects with.
 */
export async function serveUntilSignal(options: {
  signals: SignalSource
  log: Log
  /** One that came before anybody listened here. */
  hupCame?: boolean
  /** How long a stop that is to be at once may take; the process is expected to exit then. */
  stopMs?: number
  /** @param signal it need not come any further: what has started is drained. */
  start: (signal: AbortSignal) => Promise<Stoppable>
}): Promise<number> {
  using signals = new Signals(options.signals, options.log)
  if (options.hupCame) signals.hup()
  const app = await Promise.race([options.start(signals.stopping), signals.second])
  if (typeof app === 'string') return statusOf(app)
  signals.onReload = () => app.reload()
  try {
    await Promise.race([signals.first, app.failed])
  } catch (error) {
    await stopNow(app, options)
    throw error
  }

  const ended = await Promise.race([app.drain(), signals.second])
  if (ended === undefined) return 0
  await stopNow(app, options)
  return statusOf(ended)
}

/** The drain may have come as far as to a part that never ends, and destroy() waits for the same one. */
async function stopNow(
  app: Stoppable,
  { log, stopMs = STOP_NOW_MS }: { log: Log; stopMs?: number },
): Promise<void> {
  const late = new AbortController()
  const stopped = app.destroy().then(() => true)
  const inTime = await Promise.race([stopped, delay(stopMs, false, late)])
  late.abort()
  if (!inTime) log.error({ timeoutMs: stopMs }, 'a part did not stop in time: the process ends without it')
}

/** Listens until disposed; says in the log what each signal does. */
class Signals {
  readonly first: Promise<StopSignal>
  readonly second: Promise<StopSignal>
  readonly #stopping = new AbortController()
  readonly #signals: SignalSource
  readonly #log: Log
  readonly #listener: (signal: Signal) => void
  #onReload: (() => void) | undefined
  #reloadAsked = false

  constructor(signals: SignalSource, log: Log) {
    const resolvers: ((signal: StopSignal) => void)[] = []
    this.first = new Promise((resolve) => resolvers.push(resolve))
    this.second = new Promise((resolve) => resolvers.push(resolve))
    this.#signals = signals
    this.#log = log
    this.#listener = (signal) => {
      if (signal === 'SIGHUP') {
        this.hup()
        return
      }
      if (signal === 'SIGUSR1') {
        log.info({ signal }, 'ignored: the log is standard output, and whoever reads that has the files')
        return
      }
      log.info({ signal }, resolvers.length > 1 ? 'draining; a second signal stops now' : 'stopping now')
      this.#stopping.abort()
      resolvers.shift()?.(signal)
    }
    for (const signal of SIGNALS) signals.on(signal, this.#listener)
  }

  /** Since the first one. */
  get stopping(): AbortSignal {
    return this.#stopping.signal
  }

  hup(): void {
    if (this.stopping.aborted) {
      this.#log.info({ signal: 'SIGHUP' }, 'not reloading: it is being stopped')
      return
    }
    this.#log.info({ signal: 'SIGHUP' }, 'reloading')
    if (this.#onReload === undefined) this.#reloadAsked = true
    else this.#onReload()
  }

  /** Who is told of HUP; also of one that came before. */
  set onReload(reload: () => void) {
    this.#onReload = reload
    if (this.#reloadAsked && !this.stopping.aborted) reload()
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) this.#signals.off(signal, this.#listener)
  }
}

/** What a shell reports for a process that the signal ended. */
function statusOf(signal: StopSignal): number {
  return 128 + constants.signals[signal]
}

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'] as const
// More than the audit log's last record and the host processes' last words take together.
const STOP_NOW_MS = 10_000

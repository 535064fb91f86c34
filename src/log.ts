/** The process's log: JSON lines on standard output. error = someone must act, warn = degraded but served. */

import { type DestinationStream, destination, type Logger, pino } from 'pino'

export type Log = Logger
export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

/**
 * @param sync write each line before returning; otherwise lines are buffered for at most 250 ms (access logs).
 *   Threads of one process may each have a log on the same descriptor: a line is one write.
 */
export function createLog(options: { level: LogLevel | 'silent'; sync: boolean }): {
  log: Log
  flush: () => void
} {
  const stream = options.sync ? destination({ fd: 1, sync: true }) : buffered()
  const log = pino(
    {
      level: options.level,
      base: null,
      timestamp,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['pin', '*.pin', 'headers.authorization', 'headers.cookie'], censor: '[secret]' },
    },
    stream,
  )
  return { log, flush: () => flushQuietly(stream) }
}

/**
 * A log for lines at the rate of requests: always on, buffered, and without redaction, which costs as much as
 * the rest of a line. Its writer names every field; none of them may hold a secret.
 */
export function createAccessLog(): { log: Log; flush: () => void } {
  const stream = buffered()
  const formatters = { level: (label: string) => ({ level: label }) }
  const log = pino({ level: 'info', base: null, timestamp, formatters }, stream)
  return { log, flush: () => flushQuietly(stream) }
}

let stampedAtMs = 0
let stamp = ''

/** A busy thread writes many lines in one millisecond. */
function timestamp(): string {
  const nowMs = Date.now()
  if (nowMs !== stampedAtMs) {
    stampedAtMs = nowMs
    stamp = `,"time":"${new Date(nowMs).toISOString()}"`
  }
  return stamp
}

// Below the 16 KiB that sonic-boom writes at once; it refuses to start otherwise.
const BUFFER_BYTES = 8 * 1024
const FLUSH_INTERVAL_MS = 250

function buffered(): DestinationStream & { flushSync(): void } {
  const stream = destination({ fd: 1, sync: false, minLength: BUFFER_BYTES })
  setInterval(() => stream.flush(), FLUSH_INTERVAL_MS).unref()
  return stream
}

function flushQuietly(stream: { flushSync(): void }): void {
  try {
    stream.flushSync()
  } catch {
    // The descriptor is gone or not open yet: there is nobody left to tell.
  }
}

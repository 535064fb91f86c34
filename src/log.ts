/** The process's log: JSON lines on standard output. error = someone must act, warn = degraded but served. */

import { type Logger, pino } from 'pino'
import { LogOutput } from './log-output.ts'

export type Log = Logger
export interface LogAndOutput {
  readonly log: Log
  readonly flush: () => void
  /** Of all that this destination was given: a full disk can be told of nowhere else. */
  readonly lostLines: () => number
}
export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

/**
 * Each line is written at once, so that it is there whatever ends the process. What standard output does not take, full
 * or not read, is kept or lost, and serving goes on: see log-output.ts.
 */
export function createLog(options: { level: LogLevel | 'silent' }): LogAndOutput {
  const output = outputAtOnce()
  const log = pino(
    {
      level: options.level,
      base: null,
      timestamp,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['pin', '*.pin', 'headers.authorization', 'headers.cookie'], censor: '[secret]' },
    },
    output,
  )
  return { log, flush: () => output.flush(), lostLines: () => output.lostLines }
}

/**
 * A log for lines at the rate of requests: always on, buffered for at most 250 ms, and without redaction, which costs as
 * much as the rest of a line. Its writer names every field; none of them may hold a secret.
 */
export function createAccessLog(): LogAndOutput {
  const output = new LogOutput({ fd: STANDARD_OUTPUT, mode: 'buffered', lostText })
  const formatters = { level: (label: string) => ({ level: label }) }
  const log = pino({ level: 'info', base: null, timestamp, formatters }, output)
  return { log, flush: () => output.flush(), lostLines: () => output.lostLines }
}

let sharedOutput: LogOutput | undefined

/** One for all logs of a thread: their lines stay in order. */
function outputAtOnce(): LogOutput {
  sharedOutput ??= new LogOutput({ fd: STANDARD_OUTPUT, mode: 'at once', lostText })
  return sharedOutput
}

function lostText(lines: number): string {
  return `{"level":"warn"${timestamp()},"lines":${lines},"msg":"log lines are missing here: standard output did not take them"}\n`
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

const STANDARD_OUTPUT = 1

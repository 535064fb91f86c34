/** `sealgate bench handshake`: what a listener does under a load of full and resumed handshakes. */

import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { benchHandshakes, clientProcesses, type HandshakeBenchOptions } from '../bench/handshake/run.ts'
import { parseTarget, targetText } from '../bench/handshake/target.ts'
import { handshakeText, loadText } from '../bench/handshake/text.ts'
import { formatNumber, formatSeconds } from '../bench/numbers.ts'
import { checkWritable, writeReport } from '../bench/report/files.ts'
import { parseCount, parsePositive, parseSeconds, parseShare } from './bench-options.ts'
import { untilInterrupted } from './interrupt.ts'
import { usage } from './module-options.ts'
import type { Terminal } from './program.ts'

/** As commander gives them. */
export interface BenchHandshakeOptions {
  readonly rate?: string
  readonly connections?: string
  readonly processes?: string
  readonly seconds: string
  readonly warmUp: string
  readonly timeout: string
  readonly resumed: string
  readonly tls: string
  readonly alpn?: string
  readonly servername?: string
  readonly cacert?: string
  readonly insecure?: true
  readonly reset?: true
  readonly admin?: string
  readonly serverPid?: string
  readonly json?: string
}

/**
 * @returns 0; 69 when no handshake was completed, 130 when it was interrupted.
 * @throws {SealgateError} `ERR_USAGE`, `ERR_BENCH_TARGET`, `ERR_BENCH_WRITE`
 */
export async function benchHandshake(
  where: string,
  options: BenchHandshakeOptions,
  terminal: Terminal,
): Promise<number> {
  const settings = parseSettings(where, options)
  checkWritable([options.json])
  const { tls, load, resumed, seconds } = settings
  const processes = clientProcesses(settings)
  terminal.out(
    `${loadText({ target: targetText(settings.target), tls, loop: load, resumedShare: resumed }, { processes, seconds })}\n`,
  )
  const changing = process.stdout.isTTY && process.stderr.isTTY
  const run = await untilInterrupted((signal) =>
    benchHandshakes(
      settings,
      ({ done, failed, secondsLeft }) => {
        const trouble = failed === 0 ? '' : `, ${formatNumber(failed)} failed`
        const text = `${formatNumber(done)} handshakes${trouble}, ${formatSeconds(secondsLeft)} left`
        if (changing) terminal.err(`${CLEAR_LINE}${text}`)
      },
      signal,
    ),
  ).finally(() => {
    if (changing) terminal.err(CLEAR_LINE)
  })
  const report = run.value
  terminal.out(`\n${handshakeText(report)}`)
  if (options.json !== undefined) {
    writeReport(options.json, `${JSON.stringify(report, null, 2)}\n`)
    terminal.out(`written: ${options.json}\n`)
  }
  if (run.interrupted) return INTERRUPTED_STATUS
  return report.full.handshakes + report.resumed.handshakes === 0 ? UNAVAILABLE_STATUS : 0
}

function parseSettings(where: string, options: BenchHandshakeOptions): HandshakeBenchOptions {
  const target = parseTarget(where)
  const { rate, connections, cacert, insecure = false, reset = false, tls, alpn, admin, serverPid } = options
  if (rate !== undefined && connections !== undefined) {
    throw usage('--rate and --connections exclude each other: a schedule, or so many at a time')
  }
  if (tls !== '1.2' && tls !== '1.3') throw usage(`--tls ${tls}: give 1.2 or 1.3`)
  if (cacert !== undefined && insecure) throw usage('--cacert and --insecure exclude each other')
  return {
    target,
    // An address is no server name (RFC 6066 §3).
    servername: options.servername ?? (isIP(target.host) === 0 ? target.host : null),
    ca: cacert === undefined ? null : [readPem(cacert)],
    insecure,
    tls,
    alpn: alpn === undefined ? [] : alpn.split(',').map((name) => name.trim()),
    resumed: parseShare('--resumed', options.resumed),
    load:
      rate === undefined
        ? { connections: parseCount('--connections', connections ?? DEFAULT_CONNECTIONS, MAX_CONNECTIONS) }
        : { perSecond: parsePositive('--rate', rate, '/s') },
    processes:
      options.processes === undefined
        ? availableParallelism()
        : parseCount('--processes', options.processes, MAX_PROCESSES),
    seconds: parseSeconds('--seconds', options.seconds),
    warmUpSeconds: parseSeconds('--warm-up', options.warmUp),
    timeoutMs: parseSeconds('--timeout', options.timeout) * 1000,
    reset,
    admin: admin === undefined ? undefined : parseAdmin(admin),
    serverPid: serverPid === undefined ? undefined : parseCount('--server-pid', serverPid, MAX_PID),
  }
}

function readPem(file: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw usage(`--cacert ${file}: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw usage(`--cacert ${file} has no certificate in PEM`)
  return text
}

function parseAdmin(text: string): URL {
  try {
    return new URL(text.includes('://') ? text : `http://${text}`)
  } catch {
    throw usage(
      `--admin ${text}: give the address of "admin" in its configuration, such as http://127.0.0.1:9901`,
    )
  }
}

const DEFAULT_CONNECTIONS = '64'
const MAX_CONNECTIONS = 65_536
const MAX_PROCESSES = 256
const MAX_PID = 4_194_304
const CLEAR_LINE = '\r\x1b[K'
/** EX_UNAVAILABLE of sysexits.h. */
const UNAVAILABLE_STATUS = 69
/** 128 + SIGINT, as shells say it. */
const INTERRUPTED_STATUS = 130

/** `sealgate bench sign`: how fast an HSM signs, and with how many sessions. */

import { machineFacts, machineText } from '../bench/machine.ts'
import { checkWritable, writeReport } from '../bench/report/files.ts'
import { signReportHtml } from '../bench/report/html.ts'
import { expectedSeries, MAX_SESSIONS, type SignBenchPlan } from '../bench/sign/plan.ts'
import { SignProgress } from '../bench/sign/progress.ts'
import { benchSigning } from '../bench/sign/run.ts'
import { summaryText } from '../bench/sign/summary.ts'
import { bareTargets, configTargets, type Targets } from '../bench/sign/targets.ts'
import { parseCount, parseSchemes, parseSeconds, parseSessions, parseShare } from './bench-options.ts'
import { untilInterrupted } from './interrupt.ts'
import { environmentOf, type ModuleOptions, refuseBesideConfig, tokenOf, usage } from './module-options.ts'
import type { Terminal } from './program.ts'

/** As commander gives them. */
export interface BenchSignOptions extends ModuleOptions {
  readonly config?: string
  readonly hsm: readonly string[]
  readonly key: readonly string[]
  readonly certificate: readonly string[]
  readonly userType: string
  readonly seconds: string
  readonly warmUp: string
  readonly sessions?: string
  readonly schemes?: string
  readonly path: string
  readonly resumed: string
  readonly json?: string
  readonly html?: string
}

/**
 * @returns 0; 69 when something that was asked for could not be measured, 130 when it was interrupted.
 * @throws {SealgateError} when nothing was measured, with its exit status.
 */
export async function benchSign(options: BenchSignOptions, terminal: Terminal): Promise<number> {
  const settings = parseSettings(options)
  const resumed = parseShare('--resumed', options.resumed)
  checkWritable([options.json, options.html])
  const plan: SignBenchPlan = { ...(await targetsOf(options)), ...settings }
  terminal.out(`${machineText(machineFacts())}\n`)
  const progress = new SignProgress({
    out: terminal.out,
    status: process.stdout.isTTY && process.stderr.isTTY ? terminal.err : undefined,
    secondsPerStep: plan.secondsPerStep + plan.warmUpSeconds,
    expectedSeries: expectedSeries(plan),
  })
  const report = await untilInterrupted((signal) => benchSigning(plan, progress, signal)).finally(() =>
    progress.end(),
  )
  terminal.out(`\n${summaryText(report.value, resumed)}`)
  if (options.json !== undefined) writeReport(options.json, `${JSON.stringify(report.value, null, 2)}\n`)
  if (options.html !== undefined) writeReport(options.html, signReportHtml(report.value, { resumed }))
  for (const file of [options.json, options.html]) if (file !== undefined) terminal.out(`written: ${file}\n`)
  if (report.interrupted) return INTERRUPTED_STATUS
  return report.value.complete ? 0 : UNAVAILABLE_STATUS
}

function parseSettings(options: BenchSignOptions): Omit<SignBenchPlan, keyof Targets> {
  const paths = new Set(options.path === 'both' ? (['pool', 'raw'] as const) : [parsePath(options.path)])
  return {
    schemes: options.schemes === undefined ? undefined : parseSchemes(options.schemes),
    ladder: options.sessions === undefined ? undefined : parseSessions(options.sessions, MAX_SESSIONS),
    paths,
    secondsPerStep: parseSeconds('--seconds', options.seconds),
    warmUpSeconds: parseSeconds('--warm-up', options.warmUp),
  }
}

function parsePath(text: string): 'pool' | 'raw' {
  if (text === 'pool' || text === 'raw') return text
  throw usage(`--path ${text}: give pool, raw or both`)
}

async function targetsOf(options: BenchSignOptions): Promise<Targets> {
  if (options.config !== undefined) {
    refuseBesideConfig(options)
    const { config, hsm: hsms, key: keys, certificate: certificates } = options
    return configTargets({ config, hsms, keys, certificates })
  }
  const { module, pinFile } = options
  const [key, secondKey] = options.key
  if (module === undefined || pinFile === undefined || key === undefined) {
    throw usage(
      'what is to be measured? Give --config FILE, or --module FILE --token LABEL --pin-file FILE --key URI',
    )
  }
  if (secondKey !== undefined) throw usage('without --config one --key is measured at a time')
  const token = tokenOf(options)
  if (token === undefined) throw usage('which token? Give --token LABEL, --serial NUMBER or --slot NUMBER')
  if (options.hsm.length > 0) throw usage('--hsm chooses from a configuration: give --config FILE too')
  return bareTargets({
    module,
    token,
    pinFile,
    key,
    certificate: options.certificate[0],
    env: environmentOf(options.env),
    initialize: options.initialize,
    userType: options.userType === 'so' ? 0 : parseUserType(options.userType),
  })
}

function parseUserType(text: string): number {
  return text === 'user' ? CKU_USER : parseCount('--user-type', text, 0xffff_ffff)
}

/** CK_USER_TYPE, PKCS#11 v3.1, C_Login. */
const CKU_USER = 1
/** EX_UNAVAILABLE of sysexits.h. */
const UNAVAILABLE_STATUS = 69
/** 128 + SIGINT, as shells say it. */
const INTERRUPTED_STATUS = 130

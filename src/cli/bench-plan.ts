/** `sealgate bench plan`: how many HSMs a load needs, and what they cost. */

import { type PlanOptions, planCapacity } from '../bench/plan/capacity.ts'
import { planText } from '../bench/plan/text.ts'
import { readSignReport } from '../bench/report/files.ts'
import { parsePositive, parseShare } from './bench-options.ts'
import { usage } from './module-options.ts'
import type { Terminal } from './program.ts'

/** As commander gives them. */
export interface BenchPlanOptions {
  readonly handshakes?: string
  readonly resumed: string
  readonly scheme?: string
  readonly hsm?: string
  readonly utilisation: string
  readonly price?: string
  readonly pricePerRequest?: string
  readonly averageLoad: string
  readonly json?: true
}

/** @throws {SealgateError} `ERR_USAGE`, `ERR_BENCH_READ`, `ERR_BENCH_REPORT` */
export async function benchPlan(
  file: string,
  options: BenchPlanOptions,
  terminal: Terminal,
): Promise<number> {
  if (options.handshakes === undefined)
    throw usage('--handshakes is missing: how many a second, such as 5000/s?')
  const settings: PlanOptions = {
    handshakes: parsePositive('--handshakes', options.handshakes, '/s'),
    resumed: parseShare('--resumed', options.resumed),
    scheme: options.scheme,
    hsm: options.hsm,
    utilisation: parseUpToOne('--utilisation', options.utilisation),
    pricePerHour: options.price === undefined ? undefined : parsePositive('--price', options.price, '/h'),
    pricePerSignature:
      options.pricePerRequest === undefined ? undefined : parseRequestPrice(options.pricePerRequest),
    averageShare: parseUpToOne('--average-load', options.averageLoad),
  }
  const plan = planCapacity(readSignReport(file), settings)
  terminal.out(options.json ? `${JSON.stringify(plan, null, 2)}\n` : planText(plan, settings))
  return 0
}

function parseUpToOne(option: string, text: string): number {
  const value = text.endsWith('%') ? Number(text.slice(0, -1)) / 100 : Number(text)
  if (value > 0 && value <= 1) return value
  throw usage(`${option} ${text}: give a share above 0 and up to 1, such as 0.7 or 70%`)
}

/** `0.15/10000`: a price for so many. */
function parseRequestPrice(text: string): number {
  const [price = '', count = '1', ...rest] = text.split('/')
  const value = Number(price) / Number(count)
  if (price !== '' && rest.length === 0 && Number.isFinite(value) && value > 0) return value
  throw usage(`--price-per-request ${text}: give a price, or one for many: 0.15/10000`)
}

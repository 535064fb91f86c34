/** A plan in words. */

import { formatNumber, formatShare } from '../numbers.ts'
import { membersText } from '../report/sign-report.ts'
import type { CapacityPlan, PlanOptions } from './capacity.ts'

export function planText(plan: CapacityPlan, options: PlanOptions): string {
  const { series, signaturesPerSecond, perHsm, needed, bought, notes } = plan
  const lines = [
    `wanted:    ${formatNumber(options.handshakes)} handshakes/s, ${formatShare(options.resumed)} resumed: ${formatNumber(signaturesPerSecond)} signatures/s at the peak`,
    `measured:  ${formatNumber(perHsm)} signatures/s at the knee of ${membersText(series)} (${series.scheme}, ${series.path === 'pool' ? 'through the pool' : 'raw'})`,
    `HSMs:      ${bought}: ${needed} carry the load at ${formatShare(options.utilisation)} at most, one more is there for when one is lost (N−1)`,
    `use:       ${formatShare(plan.utilisation)} of each, ${formatShare(plan.utilisationWithOneLost)} with one lost`,
    ...costLines(plan, options),
    ...notes.map((note) => `note:      ${note}`),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function costLines({ monthly, bought }: CapacityPlan, options: PlanOptions): string[] {
  const { pricePerHour, pricePerSignature, averageShare } = options
  const hsms =
    monthly.hsms === undefined
      ? []
      : [`cost:      ${money(monthly.hsms)} a month: ${bought} × ${pricePerHour} × 730 h`]
  const signatures =
    monthly.signatures === undefined
      ? []
      : [
          `cost:      ${money(monthly.signatures)} a month for signatures at ${formatNumber((pricePerSignature ?? 0) * 10_000)} per 10,000, with ${formatShare(averageShare)} of the peak as the average`,
        ]
  const both =
    hsms.length + signatures.length > 1 ? [`cost:      ${money(monthly.total)} a month together`] : []
  return [...hsms, ...signatures, ...both]
}

function money(amount: number): string {
  return amount.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 })
}

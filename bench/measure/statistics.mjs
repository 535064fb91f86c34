// @ts-check
/** Repeated measurements of one figure, and how they are written down. */

/**
 * @param {readonly number[]} values
 * @returns {number} NaN when there are none
 */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/**
 * Where the median of all that could be measured lies, whatever the distribution: so many of n values are below it as a fair coin
 * shows heads in n throws.
 *
 * @param {readonly number[]} values
 * @returns {{ low: number, high: number }} two of them, with 95 % between; fewer than six are not enough for that, and
 *   their whole range is given
 */
export function medianInterval(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const count = sorted.length
  let outside = 0
  let left = -1
  for (let share = 2 * 0.5 ** count; outside + share <= 0.05; share *= (count - left) / (left + 1)) {
    outside += share
    left++
  }
  const first = Math.max(0, left)
  return { low: sorted[first] ?? Number.NaN, high: sorted[count - 1 - first] ?? Number.NaN }
}

/**
 * Three significant digits, thousands grouped: 0.954, 12.3, 1,234.
 *
 * @param {number} value
 */
export function formatNumber(value) {
  if (!Number.isFinite(value)) return 'n/a'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US')
  return value.toPrecision(3)
}

/**
 * The median, and the range when there is more than one value.
 *
 * @param {readonly number[]} values
 */
export function formatValues(values) {
  const middle = formatNumber(median(values))
  if (values.length < 2) return middle
  return `${middle} (${formatNumber(Math.min(...values))}–${formatNumber(Math.max(...values))})`
}

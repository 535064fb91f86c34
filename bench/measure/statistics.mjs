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
 * Where the median of all that could be measured lies, whatever its distribution: as many of n values are below it as a fair coin
 * shows heads in n throws.
 *
 * @param {readonly number[]} values
 * @returns {{ low: number, high: number }} two of them, 95 % sure; fewer than six cannot be, and their whole range is
 *   given
 */
export function medianInterval(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const count = sorted.length
  let unsure = 0.5 ** (count - 1)
  let cut = 0
  for (let more = unsure * count; unsure + more <= 0.05; more *= (count - cut) / (cut + 1)) {
    unsure += more
    cut++
  }
  return { low: sorted[cut] ?? Number.NaN, high: sorted[count - 1 - cut] ?? Number.NaN }
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

/** Durations and sizes as people write them (`250ms`, `16KiB`); after this, milliseconds and bytes. */

/** Unit → milliseconds. */
export const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
/** Unit → bytes; powers of two only, so that nobody has to guess what a `K` is (IEC 80000-13). */
export const SIZE_UNITS = { B: 1, KiB: 1_024, MiB: 1_048_576, GiB: 1_073_741_824 } as const

/** One number, one unit: `1.5s` is fine, `1h30m` is `90m`. */
const QUANTITY = /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]+)$/

type Units = Readonly<Record<string, number>>

/** @returns milliseconds; undefined when the text is no duration with a unit, or no whole millisecond. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, DURATION_UNITS)
}

/** @returns bytes; undefined when the text is no size with a unit, or no whole byte. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, SIZE_UNITS)
}

/** The shortest form that reads back as the same number, e.g. 90000 → `90s`. */
export function formatDuration(ms: number): string {
  return formatQuantity(ms, DURATION_UNITS)
}

export function formatSize(bytes: number): string {
  return formatQuantity(bytes, SIZE_UNITS)
}

function parseQuantity(text: string, units: Units): number | undefined {
  const [, digits, unit] = QUANTITY.exec(text) ?? []
  if (digits === undefined || unit === undefined || !Object.hasOwn(units, unit)) return undefined
  const value = Number(digits) * (units[unit] ?? Number.NaN)
  // 0.1s is 100.00000000000001 ms in binary: a thousandth of a unit is nothing that anybody wrote.
  const whole = Math.round(value)
  return Number.isSafeInteger(whole) && Math.abs(value - whole) < 1e-3 ? whole : undefined
}

function formatQuantity(value: number, units: Units): string {
  const [unit, factor] = Object.entries(units).findLast(
    ([, size]) => value >= size && value % size === 0,
  ) ?? [Object.keys(units)[0], 1]
  return `${value / factor}${unit}`
}

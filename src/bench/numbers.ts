/** Numbers as people read them. */

/** Three significant digits, thousands grouped: 0.954, 12.3, 1,234. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (value === 0) return '0'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}

/** With the unit that suits it: 41 µs, 1.2 ms, 3.4 s. */
export function formatMs(ms: number): string {
  if (!Number.isFinite(ms)) return '–'
  if (ms < 1) return `${formatNumber(ms * 1000)} µs`
  return ms < 1000 ? `${formatNumber(ms)} ms` : `${formatNumber(ms / 1000)} s`
}

/** 3 s, 1 min 20 s, 2 h 5 min. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return joined(Math.floor(whole / 60), 'min', whole % 60, 's')
  return joined(Math.floor(whole / 3600), 'h', Math.floor((whole % 3600) / 60), 'min')
}

/** 0.7 → 70 %. */
export function formatShare(share: number): string {
  return `${formatNumber(share * 100)} %`
}

/** 1 session, 2 sessions. */
export function sessionsText(sessions: number): string {
  return sessions === 1 ? '1 session' : `${sessions} sessions`
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`
}

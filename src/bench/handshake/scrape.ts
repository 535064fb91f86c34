/** What the proxy says of itself on /metrics, before and after: how long its signatures took. */

import { SealgateError } from '../../errors.ts'

/** Sums over all HSMs and schemes. */
export interface SignTotals {
  readonly signatures: number
  readonly signSeconds: number
  readonly waits: number
  readonly waitSeconds: number
  /** Signature attempts that failed, whatever became of the handshake. */
  readonly failed: number
}

/** Of the time between two readings. */
export interface HsmShare {
  readonly signatures: number
  /** Mean ms in the HSM for one signature: C_SignInit and C_Sign. */
  readonly signMs: number
  /** Mean ms that a signature waited for an HSM with room. */
  readonly waitMs: number
  readonly failed: number
}

/** @throws {SealgateError} `ERR_BENCH_TARGET` when nobody answers, or it is not the admin endpoint of a Sealgate. */
export async function readSignTotals(admin: URL): Promise<SignTotals> {
  const url = new URL('/metrics', admin)
  const text = await fetchText(url)
  if (!text.includes('sealgate_sign_seconds')) {
    throw new SealgateError(
      'ERR_BENCH_TARGET',
      `--admin ${url.origin}: its /metrics has no sealgate_sign_seconds; is that the admin endpoint of a Sealgate?`,
    )
  }
  const sum = (name: string, wanted: (labels: string) => boolean = () => true): number =>
    samples(text, name)
      .filter(({ labels }) => wanted(labels))
      .reduce((total, { value }) => total + value, 0)
  return {
    signatures: sum('sealgate_sign_seconds_count'),
    signSeconds: sum('sealgate_sign_seconds_sum'),
    waits: sum('sealgate_sign_wait_seconds_count'),
    waitSeconds: sum('sealgate_sign_wait_seconds_sum'),
    failed: sum('sealgate_signatures_total', (labels) => !labels.includes('result="ok"')),
  }
}

/** @returns null when counters have gone back: the proxy was started anew in between. */
export function hsmShare(before: SignTotals, after: SignTotals): HsmShare | null {
  const signatures = after.signatures - before.signatures
  if (signatures < 0 || after.waits < before.waits || after.failed < before.failed) return null
  return {
    signatures,
    signMs: mean(after.signSeconds - before.signSeconds, signatures),
    waitMs: mean(after.waitSeconds - before.waitSeconds, after.waits - before.waits),
    failed: after.failed - before.failed,
  }
}

function mean(seconds: number, count: number): number {
  return count <= 0 ? 0 : Math.max(0, seconds / count) * 1000
}

/** Prometheus text format 0.0.4. */
function samples(text: string, name: string): { labels: string; value: number }[] {
  const pattern = new RegExp(`^${name}(\\{[^}]*\\})? (\\S+)`, 'gm')
  return [...text.matchAll(pattern)].map(([, labels = '', value]) => ({ labels, value: Number(value) }))
}

async function fetchText(url: URL): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(SCRAPE_LIMIT_MS) })
    if (!response.ok) throw new Error(`answered with status ${response.status}`)
    return await response.text()
  } catch (cause) {
    throw new SealgateError('ERR_BENCH_TARGET', `--admin: ${url.href} ${reasonOf(cause)}`, { cause })
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `cannot be read: ${error.cause.message}` : error.message
}

const SCRAPE_LIMIT_MS = 5000

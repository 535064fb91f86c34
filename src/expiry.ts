/** Warns of certificates that expire: 30, 14, 7 and 1 days before, once each, and at the start. */

import { X509Certificate } from 'node:crypto'
import type { Log } from './log.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { CertificateOptions } from './tls/options.ts'

export class ExpiryWarnings {
  readonly #log: Log
  readonly #metrics: Metrics
  readonly #timer: NodeJS.Timeout
  #certificates: readonly CertificateOptions[] = []
  /** The nearest threshold that was told, by chain. */
  #told: ReadonlyMap<string, number> = new Map()

  constructor({ log, metrics }: { log: Log; metrics: Metrics }) {
    this.#log = log
    this.#metrics = metrics
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  /** These are served from now on; looks at once. What has been said of one that stays is not said again. */
  watch(certificates: readonly CertificateOptions[]): void {
    this.#certificates = certificates
    this.look()
  }

  /** @param nowMs wall-clock time. */
  look(nowMs = Date.now()): void {
    const { certificateExpiry, certificateExpiryWarning } = this.#metrics
    certificateExpiry.reset()
    certificateExpiryWarning.reset()
    const told = new Map<string, number>()
    const shown = new Map<string, { notAfterMs: number; leftDays: number }>()
    for (const certificate of this.#certificates) {
      const end = firstEnd(certificate)
      const labels = { name: certificate.names[0] ?? certificate.file, key_type: certificate.keyType }
      const ownDays = (end.notAfterMs - nowMs) / DAY_MS
      // Certificates may share their first name: one that is healthy must not hide another one that ends.
      const series = JSON.stringify(labels)
      const other = shown.get(series) ?? { notAfterMs: Infinity, leftDays: Infinity }
      const notAfterMs = Math.min(other.notAfterMs, certificate.notAfterMs)
      const leftDays = Math.min(other.leftDays, ownDays)
      shown.set(series, { notAfterMs, leftDays })
      certificateExpiry.set(labels, notAfterMs / 1000)
      for (const days of THRESHOLDS)
        certificateExpiryWarning.set({ ...labels, days: String(days) }, leftDays <= days ? 1 : 0)
      const passed = THRESHOLDS.find((days) => ownDays <= days)
      if (passed === undefined) continue
      const key = chainKey(certificate)
      told.set(key, passed)
      if (this.#told.get(key) !== passed) this.#tell(certificate, end, ownDays)
    }
    this.#told = told
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer)
  }

  #tell({ file, names }: CertificateOptions, end: End, leftDays: number): void {
    const notAfter = new Date(end.notAfterMs).toISOString()
    const facts = { certificate: file, names, notAfter, ...(end.issuer && { issuer: end.issuer }) }
    if (leftDays <= 0) this.#log.error(facts, 'a certificate has expired: clients refuse it; renew it')
    else {
      const daysLeft = Math.floor(leftDays)
      const level = leftDays <= 7 ? 'error' : 'warn'
      this.#log[level]({ ...facts, daysLeft }, 'a certificate expires soon: renew it')
    }
  }
}

interface End {
  readonly notAfterMs: number
  /** Subject, when it is not the leaf that ends first. */
  readonly issuer: string | undefined
}

/** A chain is as good as the first of its certificates to expire. */
function firstEnd({ chain, notAfterMs }: CertificateOptions): End {
  return chain.slice(1).reduce<End>(
    (first, der) => {
      const issuer = new X509Certificate(der)
      const endMs = Date.parse(issuer.validTo)
      const subject = issuer.subject.replaceAll('\n', ', ')
      return endMs < first.notAfterMs ? { notAfterMs: endMs, issuer: subject } : first
    },
    { notAfterMs, issuer: undefined },
  )
}

function chainKey({ file, notAfterMs, spki }: CertificateOptions): string {
  return `${file} ${notAfterMs} ${Buffer.from(spki).toString('base64')}`
}

/** Days, the nearest first; 0: it has expired. */
const THRESHOLDS = [0, 1, 7, 14, 30]
const DAY_MS = 24 * 3600 * 1000
const LOOK_MS = 3600 * 1000

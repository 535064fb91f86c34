import type { Series, SignReport, Step } from '../../../src/bench/report/sign-report.ts'

/** A step as Little's law has it: mean latency = sessions ÷ rate. */
export function step(sessions: number, rate: number, overrides: Partial<Step> = {}): Step {
  const mean = rate === 0 ? 0 : (sessions / rate) * 1000
  return {
    sessions,
    seconds: 3,
    signatures: Math.round(rate * 3),
    rate,
    rateError: rate * 0.005,
    latencyMs: { mean, p50: mean, p90: mean * 1.2, p99: mean * 1.5, max: mean * 3 },
    errors: {},
    throttled: 0,
    inFlightLimit: sessions,
    busy: 0.2,
    ...overrides,
  }
}

export function series(overrides: Partial<Series> = {}): Series {
  const steps = overrides.steps ?? [step(1, 900), step(2, 1800), step(4, 2000), step(8, 2010), step(16, 2000)]
  const best = Math.max(...steps.map(({ rate }) => rate))
  const knee = steps.find(({ rate }) => rate >= 0.95 * best)
  return {
    path: 'pool',
    members: ['hsm-a'],
    key: 'pkcs11:object=web',
    keyType: 'ec',
    scheme: 'ecdsa_secp256r1_sha256',
    knee: knee === undefined ? null : { sessions: knee.sessions, rate: knee.rate },
    stop: { reason: 'knee', text: '16 sessions sign no more compared with 4' },
    ...overrides,
    steps,
  }
}

export function report(overrides: Partial<SignReport> = {}): SignReport {
  return {
    format: 'sealgate-bench-sign',
    version: 1,
    sealgate: '0.1.0',
    startedAt: '2026-11-22T10:00:00.000Z',
    endedAt: '2026-11-22T10:02:05.000Z',
    complete: true,
    machine: {
      processor: 'Test CPU',
      processors: 2,
      memoryBytes: 2 ** 34,
      system: 'Linux 6',
      node: 'v20',
      openssl: '3.0',
    },
    method: { secondsPerStep: 3, warmUpSeconds: 1, verify: 'auto', hedge: 'auto', timeoutMs: 2000 },
    hsms: [
      {
        name: 'hsm-a',
        module: '/usr/lib/module.so',
        token: { label: 'web', serial: '01' },
        sessions: 32,
        sessionLimit: 64,
      },
    ],
    notes: [],
    series: [series()],
    ...overrides,
  }
}

/** Nodes of a fleet with a real SoftHSM, a real place, and a clock that the test moves. */

import { pino } from 'pino'
import type { KeyUse } from '../../../src/hsm/key-use.ts'
import type { HsmOptions } from '../../../src/hsm/options.ts'
import { SigningService } from '../../../src/hsm/signing-service.ts'
import type { WrappingKey as HsmWrappingKey } from '../../../src/hsm/wrapping-key.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { type Schedule, scheduleFor } from '../../../src/tickets/schedule.ts'
import { type SharedKeys, SharedTicketKeys } from '../../../src/tickets/shared-ticket-keys.ts'
import type { Store } from '../../../src/tickets/store.ts'
import type { WrappingKey } from '../../../src/tickets/wrapping-key.ts'
import { MetricsPage } from '../../support/metrics-page.ts'

export const HOUR_MS = 3_600_000
export const KEY_URI = 'pkcs11:object=tickets;type=secret-key'
/** A rotation an hour. */
export const hourly: Schedule = scheduleFor(HOUR_MS)

/** @returns a service whose HSMs hold no key but the one that wraps, and have had their first try. */
export async function wrappingService(
  hsms: readonly HsmOptions[],
  onUse: (use: KeyUse) => void = () => {},
): Promise<SigningService> {
  const key = { uri: KEY_URI, label: 'tickets', id: undefined }
  const service = new SigningService({
    hsms: hsms.map((hsm) => ({ wrappingKey: key, ...hsm })),
    keys: [],
    signing: { timeoutMs: 2000, queue: 16, hedge: 'off', verify: 'auto' },
    log: pino({ level: 'silent' }),
    metrics: createMetrics(),
    onUse,
  })
  await service.start()
  return service
}

export function keyIn(service: SigningService, ...hsms: readonly string[]): HsmWrappingKey {
  return service.wrappingKey({ uri: KEY_URI, label: 'tickets', id: undefined, hsms })
}

export class Clock {
  nowMs = Date.parse('2026-11-22T12:00:00Z')
  readonly now = (): number => this.nowMs

  pass(ms: number): void {
    this.nowMs += ms
  }

  /** The clock of a node that is ahead, or behind. */
  skewed(byMs: number): () => number {
    return () => this.nowMs + byMs
  }
}

/** One process, as far as its ticket keys go. */
export class Node {
  readonly keys: SharedTicketKeys
  readonly lines: { level: string; msg: string; code?: string; using?: string }[] = []
  readonly #metrics = createMetrics()
  /** Copies of what TLS has been given: names of the keys, hexadecimal; first is undefined where its own key makes tickets. */
  first: string | undefined
  accepted: ReadonlySet<string> = new Set()
  /** The very bytes it was given, to see that they are zeroed. */
  readonly given = new Set<Uint8Array>()

  constructor(options: { store: Store; key: WrappingKey; now: () => number; schedule?: Schedule }) {
    const stream = { write: (line: string) => this.lines.push(JSON.parse(line)) }
    this.keys = new SharedTicketKeys({
      ...options,
      schedule: options.schedule ?? hourly,
      log: pino({ base: null, formatters: { level: (label) => ({ level: label }) } }, stream),
      metrics: this.#metrics,
      apply: (keys) => this.#apply(keys),
    })
  }

  look(): Promise<void> {
    return this.keys.look()
  }

  get problem(): string | undefined {
    return this.keys.status().problem?.code
  }

  async metrics(): Promise<MetricsPage> {
    return new MetricsPage(await this.#metrics.registry.metrics())
  }

  /** Warnings and what they are about, in order. */
  get warnings(): string[] {
    return this.lines.filter(({ level }) => level === 'warn').map(({ msg, code }) => `${code}: ${msg}`)
  }

  #apply({ first, others }: SharedKeys): void {
    this.first = first && name(first)
    this.accepted = new Set([...(first === undefined ? [] : [first]), ...others].map(name))
    for (const key of [...(first === undefined ? [] : [first]), ...others]) this.given.add(key)
  }
}

function name(key: Uint8Array): string {
  return Buffer.from(key).toString('hex', 0, 16)
}

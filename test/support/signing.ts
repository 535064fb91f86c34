/** Short ways to a signing service, its requests, and the proof that a signature is one. */

import { constants, createPublicKey, verify } from 'node:crypto'
import { existsSync } from 'node:fs'

import { pino } from 'pino'
import { expect } from 'vitest'

import { defaultHostEntry } from '../../src/hsm/host-process.ts'
import type { KeyUse } from '../../src/hsm/key-use.ts'
import { WAYS } from '../../src/hsm/member-life.ts'
import type { HsmOptions, KeyOptions, SigningOptions } from '../../src/hsm/options.ts'
import { keyFacts } from '../../src/hsm/public-key.ts'
import { SigningService } from '../../src/hsm/signing-service.ts'
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts'
import type { SignatureScheme, SigningKey, SignRequest, Waiter } from '../../src/signing.ts'

export interface TestService {
  readonly service: SigningService
  readonly metrics: Metrics
  /** Every line the service has logged. */
  readonly lines: string[]
}

/** A service with short deadlines, not started. Its hosts are the built ones. */
export function testService(options: {
  hsms: readonly HsmOptions[]
  keys: readonly (Partial<KeyOptions> & { label: string; spki: Uint8Array })[]
  signing?: Partial<SigningOptions>
  onUse?: (use: KeyUse) => void
}): TestService {
  if (!existsSync(defaultHostEntry())) {
    throw new Error('the hsm host is not built: npx tsc -p tsconfig.build.json')
  }
  const metrics = createMetrics()
  const lines: string[] = []
  const service = new SigningService({
    hsms: options.hsms,
    keys: options.keys.map(({ spki, ...key }) => ({
      key: {
        id: undefined,
        uri: `pkcs11:object=${key.label};type=private`,
        hsms: options.hsms.map((hsm) => hsm.name),
        ...key,
      },
      spki,
      keyType: keyFacts(spki).keyType,
    })),
    signing: { timeoutMs: 2000, queue: 1024, hedge: 'auto', verify: 'auto', ...options.signing },
    log: pino({ level: 'debug' }, { write: (line) => lines.push(line) }),
    metrics,
    ...(options.onUse && { onUse: options.onUse }),
  })
  return { service, metrics, lines }
}

/** A CertificateVerify with a transcript of its own, or for PKCS#1 v1.5 a ServerKeyExchange. */
export function handshakeMessage(scheme: SignatureScheme, seed = 0): Uint8Array {
  if (!scheme.tls13) {
    const randoms = Buffer.alloc(64, seed)
    return Buffer.concat([randoms, Buffer.from([3, 0, 29, 32]), Buffer.alloc(32, seed)])
  }
  const transcript = Buffer.alloc(32)
  transcript.writeUInt32BE(seed)
  return Buffer.concat([
    Buffer.alloc(64, 0x20),
    Buffer.from('TLS 1.3, server CertificateVerify\0'),
    transcript,
  ])
}

export function signRequest(
  scheme: SignatureScheme,
  options: { message?: Uint8Array; timeoutMs?: number; waiter?: Waiter } = {},
): SignRequest {
  const { message = handshakeMessage(scheme), timeoutMs = 2000, waiter } = options
  return {
    scheme,
    message,
    ...(waiter && { waiter }),
    deadlineMs: performance.now() + timeoutMs,
    connection: { id: 1, serverName: 'example.com', peer: '127.0.0.1' },
  }
}

/** The first scheme a key offers. */
export function firstScheme(key: SigningKey): SignatureScheme {
  const [scheme] = key.schemes
  if (scheme === undefined) throw new Error('the key offers no scheme')
  return scheme
}

/** Verifies with OpenSSL and the scheme's own facts, not with the code under test. */
export function verifies(
  spki: Uint8Array,
  scheme: SignatureScheme,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  const padding = {
    pss: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: scheme.saltLength ?? -1 },
    pkcs1: { padding: constants.RSA_PKCS1_PADDING },
    none: {},
  }[scheme.padding ?? 'none']
  return verify(scheme.hash ?? null, message, { key, ...padding }, signature)
}

/** Signs with `width` at a time until `until` says stop. @returns how many were signed; throws on the first failure. */
export async function signUntil(key: SigningKey, until: () => boolean, width = 16): Promise<number> {
  const scheme = firstScheme(key)
  let signed = 0
  const worker = async (): Promise<void> => {
    while (!until()) {
      const request = signRequest(scheme, { message: handshakeMessage(scheme, signed) })
      const signature = await key.sign(request)
      if (!verifies(key.spki, scheme, request.message, signature)) throw new Error('a wrong signature')
      signed++
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  return signed
}

/** Every change of a member's state that the service has logged, as `from → to`. */
export function stateChanges(lines: readonly string[]): readonly string[] {
  return lines
    .map((line): unknown => JSON.parse(line))
    .flatMap((line) =>
      typeof line === 'object' && line !== null && 'from' in line && 'to' in line
        ? [`${line.from} → ${line.to}`]
        : [],
    )
}

/** Its members took only the ways that src/hsm/README.md draws. */
export function expectDrawnChanges({ lines }: TestService): void {
  for (const change of stateChanges(lines)) expect(DRAWN).toContain(change)
}

/** close() leads to `closed` from everywhere. */
const DRAWN = Object.entries(WAYS).flatMap(([from, states]) =>
  [...states, 'closed'].map((to) => `${from} → ${to}`),
)

/** Polls a state; for states that nothing announces. */
export async function eventually(check: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs
  while (!check()) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

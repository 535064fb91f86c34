/** What the running proxy says of its certificates, on its admin address. */

import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'

export type InForce =
  /** It serves with the new key and not with the old one. */
  | 'new'
  /** It answers and still has the old state. */
  | 'old'
  /** Nobody answers there. */
  | 'nobody'

/** Waits until the proxy serves with this key. @param uris of the configuration. @returns what it was at the end. */
export async function untilInForce(
  admin: { readonly host: string; readonly port: number },
  uris: { readonly old: string; readonly new: string },
  limitMs: number,
): Promise<InForce> {
  const untilMs = performance.now() + limitMs
  for (;;) {
    const seen = await look(admin, uris)
    if (seen !== 'old' || performance.now() >= untilMs) return seen
    await delay(POLL_MS)
  }
}

async function look(
  { host, port }: { readonly host: string; readonly port: number },
  uris: { readonly old: string; readonly new: string },
): Promise<InForce> {
  const name = ANY.get(host) ?? host
  const authority = `${name.includes(':') ? `[${name}]` : name}:${port}`
  try {
    const response = await fetch(`http://${authority}/status`, { signal: AbortSignal.timeout(ANSWER_MS) })
    const { certificates } = statusSchema.parse(await response.json())
    const serves = certificates.some(({ key, ready }) => key === uris.new && ready)
    return serves && certificates.every(({ key }) => key !== uris.old) ? 'new' : 'old'
  } catch {
    return 'nobody'
  }
}

const statusSchema = z.object({ certificates: z.array(z.object({ key: z.string(), ready: z.boolean() })) })
const ANY: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
])
const POLL_MS = 250
const ANSWER_MS = 2000

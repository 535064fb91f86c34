/** Two accounts of the same uses of keys: the audit log's records, and the counters on the page of metrics. */

import { createReadStream, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'

import type { MetricsPage } from '../../support/metrics-page.ts'

/** How often, by what it was, where, and how it ended: `sign hsm-a ecdsa_secp256r1_sha256 ok`. */
export type Account = Readonly<Record<string, number>>

export interface RecordedUses {
  readonly account: Account
  /** Signatures of handshakes that somebody got. */
  readonly used: number
  /** A checkpoint covers all that has been recorded, but for its own records: no other will follow by itself. */
  readonly covered: boolean
}

/** Up to the record `stop`: the signature over that one comes when the counters cannot be asked any more. */
export async function recordedUses(file: string): Promise<RecordedUses> {
  const account = new Counts()
  let used = 0
  let [lastUse, lastCovered] = [0, 0]
  for (const path of auditFiles(file)) {
    for await (const line of createInterface({ input: createReadStream(path) })) {
      const { seq, type, reason, hsm, scheme, result, ...record } = JSON.parse(line)
      if (type === 'stop') break
      if (type === 'checkpoint') lastCovered = record.covers.seq
      if (type === 'login' || (type === 'sign' && reason !== 'checkpoint')) lastUse = seq
      if (type === 'login') account.add(`login ${hsm} ${result}`)
      if (type === 'sign' && reason === 'test') account.add(`test ${hsm} ${result}`)
      else if (type === 'sign') account.add(`sign ${hsm} ${scheme} ${result}`)
      if (reason === 'handshake' && record.used === true) used++
    }
  }
  return { account: account.sorted, used, covered: lastCovered >= lastUse }
}

export function countedUses({ samples }: MetricsPage): Account {
  const account = new Counts()
  for (const { name, labels, value } of samples) {
    const { hsm, scheme, result } = labels
    if (name === 'sealgate_signatures_total') account.add(`sign ${hsm} ${scheme} ${result}`, value)
    if (name === 'sealgate_hsm_test_signatures_total') account.add(`test ${hsm} ${result}`, value)
    if (name === 'sealgate_hsm_logins_total') account.add(`login ${hsm} ${result}`, value)
  }
  return account.sorted
}

/** Oldest first. */
export function auditFiles(file: string): string[] {
  const rotated = readdirSync(dirname(file)).filter((name) =>
    new RegExp(`^${basename(file)}\\.\\d+$`).test(name),
  )
  return [...rotated.sort().map((name) => join(dirname(file), name)), file]
}

class Counts {
  readonly #counts = new Map<string, number>()

  add(what: string, count = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + count)
  }

  /** A counter that was touched and is 0 is nothing that has happened. */
  get sorted(): Account {
    return Object.fromEntries([...this.#counts].filter(([, count]) => count > 0).sort())
  }
}

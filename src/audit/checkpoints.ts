/**
 * Signs the chain's head with a key in the HSM: at an interval, after a number of records, when a file is full, at the end.
 *
 * A checkpoint covers every record before it, so one that fails is made good by the next. Its own records are not a
 * reason for another one: a proxy at rest signs nothing.
 */

import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { SigningKey } from '../signing.ts'
import { type Chain, type Head, jsonFields } from './chain.ts'
import { checkpointMessage } from './checkpoint-message.ts'
import { spkiFingerprint } from './key-use-record.ts'
import type { CheckpointOptions } from './options.ts'

export interface CheckpointsOptions {
  readonly checkpoint: CheckpointOptions
  readonly key: SigningKey
  readonly signTimeoutMs: number
  readonly chain: Chain
  /** Adds the record. */
  readonly record: (fields: string) => void
  readonly log: Log
  readonly metrics: Metrics
}

export class Checkpoints {
  readonly #options: CheckpointsOptions
  readonly #key: { readonly uri: string; readonly spkiSha256: string }
  /** Records that no checkpoint covers or was begun for. */
  #records = 0
  #timer: NodeJS.Timeout | undefined
  #signing: Promise<void> | undefined
  /** Another one fell due while one was being signed: that one does not cover what it was for. */
  #again = false
  #failed = false
  #closed = false

  constructor(options: CheckpointsOptions) {
    this.#options = options
    const { key, spki } = options.checkpoint
    this.#key = { uri: key.uri, spkiSha256: spkiFingerprint(spki) }
  }

  /** A record was added that is not a checkpoint's own. */
  recorded(): void {
    this.#records++
    if (this.#closed) return
    // One that failed is not tried again with every signature.
    if (this.#records >= this.#options.checkpoint.everyRecords && !this.#failed) this.soon()
    else this.#later()
  }

  /** Signs the head as it is now, or as it is when the one has ended that is being signed. */
  soon(): void {
    if (this.#closed) return
    if (this.#signing !== undefined) {
      this.#again = true
      return
    }
    this.#again = false
    this.#signing = this.#sign().finally(() => {
      this.#signing = undefined
      if (this.#again && !this.#failed) this.soon()
      else if (this.#failed || this.#records > 0) this.#later()
    })
  }

  /** The last one. Resolves when it is in the chain, or could not be signed. */
  async finish(): Promise<void> {
    await this.#signing
    if (this.#records > 0) this.soon()
    this.#closed = true
    await this.#signing
    clearTimeout(this.#timer)
  }

  async #sign(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const covered = this.#records
    const head = this.#options.chain.head
    this.#records = 0
    try {
      const signature = await this.#ask(head)
      this.#options.record(jsonFields({ covers: head, ...signature }))
      this.#options.metrics.auditCheckpoints.labels('ok').inc()
      if (this.#failed) this.#options.log.info({ seq: head.seq }, 'audit checkpoints are signed again')
      this.#failed = false
    } catch (error) {
      this.#records += covered
      this.#tell(error)
    }
  }

  #later(): void {
    if (this.#closed) return
    // A signature may take longer than the interval: a timer that was left here after it fired would be the last one.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.soon()
    }, this.#options.checkpoint.everyMs).unref()
  }

  async #ask(head: Head): Promise<{ key: object; scheme: string; signature: string }> {
    const { key, signTimeoutMs } = this.#options
    const [scheme] = key.schemes
    if (scheme === undefined) throw new Error('the checkpoint key has no signature scheme')
    const signature = await key.sign({
      scheme,
      message: checkpointMessage(head),
      deadlineMs: performance.now() + signTimeoutMs,
      connection: { id: 0, serverName: undefined, peer: '' },
    })
    return { key: this.#key, scheme: scheme.name, signature: Buffer.from(signature).toString('base64') }
  }

  #tell(error: unknown): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    this.#options.metrics.auditCheckpoints.labels(code).inc()
    // An HSM that is away for an hour is one line.
    if (!this.#failed) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#options.log.warn({ code, reason }, 'audit checkpoint not signed')
    }
    this.#failed = true
  }
}

/**
 * Key management in the words of the audit log: a hash chain of its own beside it, verified by the same command.
 *
 * Of its own, because a chain has one writer, and the running proxy is that of the other. It is named `keys-audit.jsonl` beside
 * `audit.jsonl`, so that `audit verify audit.jsonl*` does not take it for a part of that chain. It is opened before
 * anything is done: what cannot be recorded does not happen.
 */

import { createHash, randomBytes } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { basename, dirname, join } from 'node:path'

import { Chain, jsonFields } from '../audit/chain.ts'
import { openPlace, type Place } from '../audit/open-place.ts'
import type { AuditOptions } from '../audit/options.ts'
import type { RecordType } from '../audit/record.ts'
import { AuditError, SealgateError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { packageVersion } from '../version.ts'
import { signCheckpoint } from './checkpoint.ts'
import type { KeyOnToken } from './jobs.ts'

export interface JournalOptions {
  /** undefined: nothing is recorded. */
  readonly audit: AuditOptions | undefined
  readonly hsms: readonly HsmOptions[]
  /** The configuration, if there is one. */
  readonly config: { readonly file: string; readonly text: string } | undefined
  /** What is about to be done, e.g. `{ name: 'keys destroy', hsm: 'hsm-a', label: 'web' }`. No secrets. */
  readonly command: object
}

export class Journal {
  readonly #place: Place | undefined
  readonly #chain: Chain
  readonly #options: JournalOptions
  #failure: AuditError | undefined

  /** @throws {AuditError} `ERR_AUDIT_LOCKED`, `ERR_AUDIT_FILE`. */
  static async open(options: JournalOptions): Promise<Journal> {
    const { audit, config, command } = options
    if (audit === undefined) return new Journal(options, undefined)
    const place = await openPlace(journalFile(audit.file))
    const journal = new Journal(options, place)
    const { unended, torn, damaged } = place
    if (unended) await place.file.append(Buffer.from('\n'))
    const configFacts = config && { file: config.file, sha256: sha256(config.text) }
    const process_ = {
      version: packageVersion(),
      node: process.version,
      hostname: hostname(),
      pid: process.pid,
    }
    const start = {
      chain: randomBytes(16).toString('hex'),
      ...process_,
      user: userInfo().username,
      config: configFacts,
      command,
      torn,
      damaged,
    }
    await journal.#append('start', start)
    return journal
  }

  private constructor(options: JournalOptions, place: Place | undefined) {
    this.#options = options
    this.#place = place
    this.#chain = new Chain(place?.head ?? { seq: 0, hash: '' })
  }

  /**
   * Does something and records how it ended.
   *
   * @throws {AuditError} when it was done and could not be recorded, with what was done. @param facts of the record besides `action` and `result`.
   * @param outcome what it adds to them; e.g. `keyFields`.
   */
  async around<T>(
    action: string,
    facts: object,
    act: () => Promise<T>,
    outcome: (done: T) => object = () => ({}),
  ): Promise<T> {
    let done: T
    try {
      done = await act()
    } catch (error) {
      const result = error instanceof SealgateError ? error.code : 'unknown'
      // Why it failed is what helps; that nothing can be written the next command says.
      await this.record(action, { ...facts, result }).catch(() => {})
      throw error
    }
    const said = outcome(done)
    try {
      await this.record(action, { ...facts, ...said, result: 'ok' })
    } catch (error) {
      if (!(error instanceof AuditError)) throw error
      const what = Object.keys(said).length === 0 ? '' : ` ${JSON.stringify(said)}`
      throw new AuditError(error.code, `it was done all the same (${action}${what}): ${error.message}`, {
        cause: error,
      })
    }
    return done
  }

  record(action: string, facts: object): Promise<void> {
    return this.#append('key', { action, ...facts })
  }

  /**
   * The end, and the signature of the checkpoint key over all of it, if there is one.
   *
   * @param failure what the work threw. After a refused PIN nothing is signed: the checkpoint key is mostly in the same HSM, and its
   *   login would be one more of the few tries before the token locks itself. The next command's checkpoint covers these records.
   * @returns why it was not signed.
   */
  async close(failure?: unknown): Promise<string | undefined> {
    const place = this.#place
    if (place === undefined) return undefined
    try {
      await this.#append('stop', {})
      if (failure instanceof SealgateError && failure.code === 'ERR_HSM_PIN') return failure.message
      return await this.#checkpoint()
    } finally {
      await place.file.close()
      await place.lock.release()
    }
  }

  async #checkpoint(): Promise<string | undefined> {
    const checkpoint = this.#options.audit?.checkpoint
    if (checkpoint === undefined) return undefined
    const head = this.#chain.head
    try {
      await this.#append('checkpoint', {
        covers: head,
        ...(await signCheckpoint(checkpoint, this.#options.hsms, head)),
      })
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  /** On the disk when it resolves. */
  async #append(type: RecordType, fields: object): Promise<void> {
    const place = this.#place
    if (place === undefined) return
    // Its end is torn, and what came behind that would be anchored in nothing.
    if (this.#failure !== undefined) throw this.#failure
    try {
      let rest = Buffer.from(this.#chain.append(type, jsonFields(fields)))
      while (rest.length > 0) rest = rest.subarray(await place.file.append(rest))
      await place.file.sync()
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      this.#failure = new AuditError(
        'ERR_AUDIT_FILE',
        `the record of key management ${place.file.path} cannot be written: ${reason}`,
        { cause },
      )
      throw this.#failure
    }
  }
}

/** Where the records go. @param auditFile of the configuration. */
function journalFile(auditFile: string): string {
  return join(dirname(auditFile), `keys-${basename(auditFile)}`)
}

/** Opens the journal, does the work, and closes it in any case. @returns what the work gave, and why the chain is not signed. */
export async function withJournal<T>(
  options: JournalOptions,
  work: (journal: Journal) => Promise<T>,
): Promise<{ readonly value: T; readonly unsigned: string | undefined }> {
  const journal = await Journal.open(options)
  let value: T
  try {
    value = await work(journal)
  } catch (error) {
    // Not in the place of the reason.
    await journal.close(error).catch(() => {})
    throw error
  }
  return { value, unsigned: await journal.close() }
}

/** Which key it was. */
export function keyFields({ token, key }: KeyOnToken): object {
  const { label, id, type, spki } = key
  const spkiSha256 = spki === null ? undefined : sha256(Buffer.from(spki, 'base64'))
  return { token: { label: token.label, serial: token.serial }, key: { label, id, type, spkiSha256 } }
}

function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

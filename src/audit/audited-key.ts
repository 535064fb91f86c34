/** A key whose signatures wait while the audit log has no room: `overflow: block`. */

import { AuditError } from '../errors.ts'
import type { SignatureScheme, SigningKey, SignRequest } from '../signing.ts'
import type { AuditLog } from './audit-log.ts'

export class AuditedKey implements SigningKey {
  readonly #key: SigningKey & { readonly ready: boolean }
  readonly #log: AuditLog

  constructor(key: SigningKey & { readonly ready: boolean }, log: AuditLog) {
    this.#key = key
    this.#log = log
  }

  get spki(): Uint8Array {
    return this.#key.spki
  }

  get ready(): boolean {
    return this.#key.ready
  }

  get schemes(): readonly SignatureScheme[] {
    return this.#key.schemes
  }

  /** @throws {AuditError} `ERR_AUDIT_FULL` when there was no room before the deadline. */
  sign(request: SignRequest): Promise<Uint8Array> {
    return this.#log.hasRoom ? this.#key.sign(request) : this.#signWhenRoom(request)
  }

  async #signWhenRoom(request: SignRequest): Promise<Uint8Array> {
    while (!this.#log.hasRoom) {
      const leftMs = request.deadlineMs - performance.now()
      if (leftMs <= 0 || !(await this.#log.room(leftMs))) {
        throw new AuditError(
          'ERR_AUDIT_FULL',
          'the audit log has no room, and nothing is signed without a record',
        )
      }
    }
    return this.#key.sign(request)
  }
}

/** The hash chain: turns fields into lines, each anchored in the one before. */

import { ending, NO_HASH, type RecordType, recordHash } from './record.ts'

/** A place in the chain: everything up to a record. */
export interface Head {
  /** Of the last record; 0 when there is none. */
  readonly seq: number
  readonly hash: string
}

/** Before the first record of all. */
export const NO_HEAD: Head = { seq: 0, hash: NO_HASH }

export class Chain {
  #head: Head

  constructor(head: Head) {
    this.#head = head
  }

  get head(): Head {
    return this.#head
  }

  /** @param fields JSON of the record's own fields, without braces: `"a":1,"b":2`. @returns the line with its newline. */
  append(type: RecordType, fields: string): string {
    const seq = this.#head.seq + 1
    const own = fields === '' ? '' : `,${fields}`
    const body = `{"seq":${seq},"time":"${timestamp()}","type":"${type}"${own},"prev":"${this.#head.hash}"`
    const hash = recordHash(body)
    this.#head = { seq, hash }
    return `${body}${ending(hash)}\n`
  }
}

/** The fields of an object as `append` wants them. Keys whose value is undefined are left out. */
export function jsonFields(fields: object): string {
  return JSON.stringify(fields).slice(1, -1)
}

let stampedAtMs = 0
let stamp = ''

/** UTC, milliseconds (RFC 3339). Many records are made in one millisecond. */
function timestamp(): string {
  const nowMs = Date.now()
  if (nowMs !== stampedAtMs) {
    stampedAtMs = nowMs
    stamp = new Date(nowMs).toISOString()
  }
  return stamp
}

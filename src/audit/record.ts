/**
 * One record is one line:
 *
 *     {"seq":7,"time":"2026-01-31T12:00:00.000Z","type":"sign", … ,"prev":"<64 hex>","hash":"<64 hex>"}
 *
 * `prev` is the hash of the record before, 64 zeros for the first one. `hash` is SHA-256 over the bytes of the line up to
 * the comma before `"hash"`, so it covers `prev` and with it everything before. Nothing has to be parsed, or written
 * anew in the same way, to check it: `head -c -76 | sha256sum` on one line does (76: the end of the line and its newline).
 */

import { hash } from 'node:crypto'

/** Hash before the first record of all. */
export const NO_HASH = '0'.repeat(64)

const RECORD_TYPES = [
  'start',
  'reload',
  'login',
  'sign',
  'wrap',
  'unwrap',
  'checkpoint',
  'key',
  'rotation',
  'loss',
  'trouble',
  'stop',
] as const
export type RecordType = (typeof RECORD_TYPES)[number]

/** Longest line: a name in a ClientHello has at most 255 bytes, URIs are the operator's own. */
export const MAX_LINE_BYTES = 65_536

/** @param body the line up to, not including, `,"hash"`. */
export function recordHash(body: string | Uint8Array): string {
  return hash('sha256', body)
}

/** The end of a line, without newline. */
export function ending(recordHash: string): string {
  return `,"hash":"${recordHash}"}`
}

/** A line taken apart; what it says is not believed before `hash` equals `computed`. */
export interface SealedLine {
  readonly seq: number
  readonly type: string
  readonly prev: string
  /** As the line says. */
  readonly hash: string
  /** As the bytes say. */
  readonly computed: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** @param line without its newline. @returns undefined when it has not the form of a record. */
export function openLine(line: Uint8Array): SealedLine | undefined {
  if (line.length < ENDING_BYTES + 2 || line.length > MAX_LINE_BYTES) return undefined
  const bodyBytes = line.length - ENDING_BYTES
  const stated = ENDING.exec(Buffer.from(line.subarray(bodyBytes)).toString('latin1'))?.[1]
  if (stated === undefined) return undefined
  const fields = parse(line)
  const { seq, type, prev } = fields ?? {}
  if (
    fields === undefined ||
    typeof seq !== 'number' ||
    typeof type !== 'string' ||
    typeof prev !== 'string'
  ) {
    return undefined
  }
  if (!Number.isSafeInteger(seq) || seq < 1) return undefined
  return { seq, type, prev, hash: stated, computed: recordHash(line.subarray(0, bodyBytes)), fields }
}

/** Fields of a record are read by `verify` from files that anybody may have written. */
export function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : 0
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function parse(line: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
  } catch {
    return undefined
  }
}

const ENDING = /^,"hash":"([0-9a-f]{64})"\}$/
const ENDING_BYTES = ending(NO_HASH).length

/**
 * Follows a chain line by line and says what is wrong with it, once for each wrong.
 *
 * After a finding it goes on from the line at hand, so that one edit is one finding and not one for each line behind it.
 * Long because every kind of line is looked at here, with the words for what is wrong.
 */

import type { KeyObject } from 'node:crypto'

import type { Head } from './chain.ts'
import { checkCheckpoint } from './checkpoint-check.ts'
import type { Line } from './lines.ts'
import { NO_HASH, numberOf, objectOf, openLine, type SealedLine, textOf } from './record.ts'
import { tornOf } from './tail.ts'

export type FindingKind =
  | 'edited'
  | 'malformed'
  | 'missing'
  | 'duplicated'
  | 'reordered'
  | 'replaced'
  | 'unanchored'
  | 'truncated'
  | 'checkpoint'

export interface Finding {
  readonly kind: FindingKind
  readonly file: string
  /** 1-based; 0: the file as a whole. */
  readonly line: number
  readonly message: string
}

export interface ChainCheckOptions {
  /** Of the checkpoints; undefined: their signatures are not looked at. */
  readonly publicKey: KeyObject | undefined
  /** A hash noted earlier: of the last record then. */
  readonly expectHead: string | undefined
}

/** What the chain as a whole came to. */
export interface ChainSummary {
  readonly records: number
  readonly first: { readonly seq: number; readonly time: string } | undefined
  readonly last: (Head & { readonly time: string; readonly type: string }) | undefined
  readonly starts: number
  /** Records that a crash cut off, each known to the start after it. */
  readonly torn: number
  /** Records that found no room, as the log itself says. */
  readonly lost: number
  readonly checkpoints: number
  /** The last record that a checkpoint covers; verified, if there was a key to verify with. */
  readonly covered: number
  /** Records behind it, its own not counted. */
  readonly uncovered: number
  readonly findings: readonly Finding[]
}

interface Place {
  readonly file: string
  readonly line: number
}

interface Gap extends Place {
  readonly from: number
  readonly to: number
}

export class ChainCheck {
  readonly #options: ChainCheckOptions
  readonly #findings: Finding[] = []
  readonly #files = new Set<string>()
  /** The record that the next one has to follow. */
  #base: { readonly seq: number; readonly hashes: readonly string[] } | undefined
  #first: (Place & { seq: number; prev: string; time: string }) | undefined
  #last: ChainSummary['last']
  /** Numbers that were passed over; a record may still turn up behind its place. */
  #gaps: Gap[] = []
  /** Lines that are no records: what a crash has left, if the next record says so. */
  #debris: (Place & { readonly bytes: Buffer })[] = []
  /** Hashes by number, since the last record that a checkpoint covers. */
  readonly #hashes = new Map<number, string>()
  readonly #counts = { records: 0, starts: 0, torn: 0, lost: 0, checkpoints: 0 }
  #covered = 0
  /** Records behind `#covered` that are there because of checkpoints. */
  #own: number[] = []
  /** What the log says of files that `keep` has removed. */
  readonly #removals: { readonly seq: number; readonly through: number }[] = []
  #headSeen = false
  #lastPlace: Place = { file: '', line: 0 }

  constructor(options: ChainCheckOptions) {
    this.#options = options
  }

  line(file: string, { bytes, number, whole }: Line): void {
    const place = { file, line: number }
    this.#lastPlace = place
    this.#files.add(file)
    const record = whole ? openLine(bytes) : undefined
    if (record === undefined) {
      this.#debris.push({ ...place, bytes: Buffer.from(bytes) })
      if (!whole)
        this.#settleDebris(
          'the file ends within this line: cut off, or torn by a crash after which nothing was started',
        )
      return
    }
    if (record.hash !== record.computed) {
      this.#find('edited', place, `record ${record.seq} was edited: its content does not have its hash`)
    }
    if (this.#debris.length > 0) this.#explainDebris(record)
    this.#follow(record, place)
  }

  /** Before the first line of the next file: nothing reaches over from one file into another. */
  fileEnded(file: string): void {
    this.#settleDebris(NO_RECORD)
    // Nothing but empty files so far: there is no line to point at.
    if (this.#lastPlace.line === 0) this.#lastPlace = { file, line: 0 }
  }

  end(): ChainSummary {
    this.#settleDebris(NO_RECORD)
    for (const gap of this.#gaps) {
      this.#find('missing', gap, `${records(gap.from, gap.to)} missing before this line`)
    }
    this.#checkBeginning()
    this.#checkHead()
    if (this.#options.publicKey !== undefined && this.#counts.checkpoints === 0) {
      this.#find('checkpoint', this.#lastPlace, 'there is no checkpoint that the key could verify')
    }
    const [first, last] = [this.#first, this.#last]
    const behind =
      last === undefined || first === undefined ? 0 : last.seq - Math.max(this.#covered, first.seq - 1)
    return {
      ...this.#counts,
      first: first && { seq: first.seq, time: first.time },
      last,
      covered: this.#covered,
      // No more of them than one checkpoint has: a forger may call all of his records so.
      uncovered: behind - Math.min(this.#own.length, OWN_RECORDS),
      findings: this.#inOrder(),
    }
  }

  #follow(record: SealedLine, place: Place): void {
    const { seq, prev, hash } = record
    const base = this.#base
    this.#counts.records++
    if (base === undefined) {
      this.#first = { ...place, seq, prev, time: timeOf(record) }
    } else if (seq === base.seq + 1) {
      if (!base.hashes.includes(prev)) {
        this.#find(
          'replaced',
          place,
          `record ${seq} does not follow the record ${base.seq} that stands before it`,
        )
      } else if (this.#hashes.has(base.seq)) this.#hashes.set(base.seq, prev)
    } else if (seq > base.seq) {
      this.#gaps.push({ ...place, from: base.seq + 1, to: seq - 1 })
    } else if (!this.#beginsAnew(record, place)) {
      this.#outOfPlace(record, place)
      return
    }
    this.#base = { seq, hashes: [hash, record.computed] }
    this.#last = { seq, hash, time: timeOf(record), type: record.type }
    this.#remember(seq, hash)
    if (hash === this.#options.expectHead) this.#headSeen = true
    this.#read(record, place)
  }

  /** A chain that knows of none before it: the first start of all, or one that found the file damaged. */
  #beginsAnew({ seq, prev, fields }: SealedLine, place: Place): boolean {
    if (seq !== 1 || prev !== NO_HASH) return false
    const reason =
      typeof fields['damaged'] === 'string' ? `, because ${fields['damaged']} was found damaged` : ''
    this.#find('unanchored', place, `a new chain begins here that is not anchored in the one before${reason}`)
    this.#hashes.clear()
    this.#covered = 0
    this.#own = []
    return true
  }

  #outOfPlace({ seq, hash }: SealedLine, place: Place): void {
    const gap = this.#gaps.find(({ from, to }) => from <= seq && seq <= to)
    if (gap === undefined) {
      const other = this.#hashes.get(seq) === hash ? '' : ', perhaps with other content'
      this.#find('duplicated', place, `record ${seq} stands here once more${other}`)
      return
    }
    this.#find('reordered', place, `record ${seq} stands behind record ${this.#base?.seq}`)
    this.#gaps = this.#gaps.flatMap((each) => (each === gap ? without(gap, seq) : [each]))
  }

  #read(record: SealedLine, place: Place): void {
    const { type, fields } = record
    const own = type === 'checkpoint' || (type === 'sign' && fields['reason'] === 'checkpoint')
    if (own) this.#own.push(record.seq)
    if (type === 'start') this.#counts.starts++
    if (type === 'loss') this.#counts.lost += numberOf(fields['records'])
    if (type === 'rotation') {
      this.#removals.push({ seq: record.seq, through: numberOf(fields['removedThrough']) })
    }
    if (type === 'checkpoint') this.#checkpoint(record, place)
  }

  #checkpoint(record: SealedLine, place: Place): void {
    this.#counts.checkpoints++
    const result = checkCheckpoint(record, {
      hashOf: (seq) => this.#hashes.get(seq),
      firstSeq: this.#first?.seq ?? 1,
      publicKey: this.#options.publicKey,
    })
    if ('wrong' in result) {
      this.#find('checkpoint', place, `checkpoint in record ${record.seq}: ${result.wrong}`)
      return
    }
    this.#covered = result.covers
    this.#own = this.#own.filter((seq) => seq > result.covers)
    for (const seq of this.#hashes.keys()) {
      if (seq >= result.covers) break
      this.#hashes.delete(seq)
    }
  }

  #remember(seq: number, hash: string): void {
    this.#hashes.set(seq, hash)
    const [oldest] = this.#hashes.keys()
    if (this.#hashes.size > MAX_HASHES && oldest !== undefined) this.#hashes.delete(oldest)
  }

  /** Only the start after a crash may have debris before it, and says what it found. */
  #explainDebris({ type, fields, hash, computed }: SealedLine): void {
    const left = tornOf(
      Buffer.concat(this.#debris.flatMap(({ bytes }, index) => (index === 0 ? [bytes] : [NEWLINE, bytes]))),
    )
    const said = objectOf(fields['torn'])
    const known = said['bytes'] === left?.bytes && said['sha256'] === left?.sha256
    if (type === 'start' && hash === computed && known) {
      this.#counts.torn++
      this.#debris = []
    } else this.#settleDebris(NO_RECORD)
  }

  #settleDebris(message: string): void {
    for (const place of this.#debris) this.#find('malformed', place, message)
    this.#debris = []
  }

  #checkBeginning(): void {
    const first = this.#first
    if (first === undefined) return
    if (first.seq === 1) {
      if (first.prev !== NO_HASH)
        this.#find('replaced', first, 'the first record claims that there is one before it')
      return
    }
    const saying = this.#removals.filter(({ through }) => through >= first.seq - 1)
    // Whoever removes files could also put such a record behind the last checkpoint.
    const proven = saying.filter(({ seq }) => this.#options.publicKey === undefined || seq <= this.#covered)
    if (proven.length > 0) return
    const claimed =
      saying.length > 0 ? '; it says that these were removed, but in no record that is signed for' : ''
    this.#find(
      'missing',
      first,
      `${records(1, first.seq - 1)} missing: the log begins with record ${first.seq}${claimed}`,
    )
  }

  #checkHead(): void {
    const { expectHead } = this.#options
    if (expectHead === undefined || this.#headSeen) return
    this.#find(
      'truncated',
      this.#lastPlace,
      `no record has the expected hash ${expectHead}: the log was cut off before it, or replaced`,
    )
  }

  /** As a reader of the files comes to them. */
  #inOrder(): readonly Finding[] {
    const files = [...this.#files]
    return this.#findings.toSorted((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line)
  }

  #find(kind: FindingKind, { file, line }: Place, message: string): void {
    this.#findings.push({ kind, file, line, message })
  }
}

function records(from: number, to: number): string {
  return from === to ? `record ${from} is` : `records ${from} to ${to} are`
}

function without(gap: Gap, seq: number): readonly Gap[] {
  const parts = [
    { ...gap, to: seq - 1 },
    { ...gap, from: seq + 1 },
  ]
  return parts.filter(({ from, to }) => from <= to)
}

function timeOf({ fields }: SealedLine): string {
  return textOf(fields['time'])
}

const NO_RECORD = 'this line is no record: edited, or put in'
const NEWLINE = Buffer.from('\n')
/** The use of the checkpoint key, and the checkpoint. */
const OWN_RECORDS = 2
// More than are made while one checkpoint is being signed.
const MAX_HASHES = 1_000_000

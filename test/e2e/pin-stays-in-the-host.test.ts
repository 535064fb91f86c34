/**
 * The PIN is known to the host process alone. The memory of the front process is searched for it, every readable
 * mapping, together with what a curious user can see of both processes. The same search finds what must be there, or
 * it would prove nothing.
 */

import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { descendants } from '../support/process-tree.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

// Long and random: it is nowhere by chance.
const PIN = randomBytes(20).toString('hex')

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site({ pin: PIN })
  upstream = await startUpstream((_request, response) => response.end('served'))
  sealgate = await startSealgate({ config: site.config([upstream.port], { log: { level: 'debug' } }) })
  for (const protocol of ['--http1.1', '--http2'])
    await curl(protocol, '--cacert', site.ca, sealgate.url(`/${MARK}`))
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('the memory of the front process does not hold the PIN', () => {
  const { found, searchedBytes } = search(sealgate.pid, [PIN, MARK, 'key-1'])

  expect(searchedBytes).toBeGreaterThan(50 * 1024 * 1024)
  expect(found).not.toContain(PIN)
  expect(found).toEqual([MARK, 'key-1']) // a request it served, and the label of its key
})

test('the memory of the host process does hold it, so the search can find it', () => {
  const [host = 0] = descendants(sealgate.pid)

  expect(search(host, [PIN]).found).toEqual([PIN])
})

test('neither process shows the PIN in its arguments or its environment', () => {
  for (const pid of [sealgate.pid, ...descendants(sealgate.pid)]) {
    for (const file of ['cmdline', 'environ'])
      expect(readFileSync(`/proc/${pid}/${file}`, 'latin1')).not.toContain(PIN)
  }
})

test('no log line, status or metric shows the PIN, at the most talkative level', async () => {
  const pages = await Promise.all(['/status', '/metrics', '/readyz'].map((path) => sealgate.admin(path)))
  const said = [JSON.stringify(sealgate.lines), sealgate.stderr, ...pages.map((page) => page?.text ?? '')]

  expect(said.join('\n')).toContain('hsm-a')
  expect(said.join('\n')).not.toContain(PIN)
})

/** Reads every mapping that can be read; as UTF-8 and as the UTF-16 that V8 may keep a string in. */
function search(pid: number, words: readonly string[]): { found: string[]; searchedBytes: number } {
  const found = new Set<string>()
  let searchedBytes = 0
  for (const memory of readableMemory(pid)) {
    searchedBytes += memory.length
    for (const word of words)
      if (memory.includes(word) || memory.includes(word, 0, 'utf16le')) found.add(word)
  }
  return { found: words.filter((word) => found.has(word)), searchedBytes }
}

function* readableMemory(pid: number): Generator<Buffer> {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const [, start = '', end = ''] of readFileSync(`/proc/${pid}/maps`, 'utf8').matchAll(READABLE)) {
      const last = Number.parseInt(end, 16)
      for (let at = Number.parseInt(start, 16); at < last; at += PIECE_BYTES) {
        const piece = read(memory, at, Math.min(PIECE_BYTES + OVERLAP_BYTES, last - at))
        if (piece !== undefined) yield piece
      }
    }
  } finally {
    closeSync(memory)
  }
}

/** @returns undefined where nothing is: memory that was given back, or the kernel's own pages. */
function read(memory: number, at: number, size: number): Buffer | undefined {
  const piece = Buffer.alloc(size)
  try {
    return piece.subarray(0, readSync(memory, piece, 0, size, at))
  } catch {
    return undefined
  }
}

/** Mappings of proc(5) that are readable. */
const READABLE = /^([0-9a-f]+)-([0-9a-f]+) r/gm
const PIECE_BYTES = 16 * 1024 * 1024
/** A word may begin in one piece and end in the next. */
const OVERLAP_BYTES = 256
const MARK = `mark-${randomBytes(8).toString('hex')}`

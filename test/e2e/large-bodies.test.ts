/**
 * 100 MB down and up in the memory of a few buffers, over both protocols; a client that reads or writes slowly makes
 * the other side wait, not the proxy grow.
 */

import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl, runTool } from '../support/tools.ts'

const MB = 1024 * 1024
const BLOCK = randomBytes(MB)
const SIZE = 100 * MB
/** Half of what passes through: buffers, and garbage that was not worth collecting yet. */
const FLAT = 50 * MB

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate
let file: string
let sent = 0

beforeAll(async () => {
  site = new Site()
  file = join(site.directory, 'body')
  writeFileSync(file, Buffer.concat(Array.from({ length: SIZE / MB }, () => BLOCK)))
  upstream = await startUpstream(answer)
  sealgate = await startSealgate({ config: site.config([upstream.port]) })
  // Both HTTP workers grow their young generation to its limit once, whatever passes through later.
  for (const protocol of [...PROTOCOLS, ...PROTOCOLS]) {
    await ask(protocol, '--output', '/dev/null', sealgate.url('/100'))
  }
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

const PROTOCOLS = ['--http1.1', '--http2']

test.each(PROTOCOLS)('100 MB come down unchanged in flat memory (%s)', async (protocol) => {
  const memory = watchMemory()
  const saved = join(site.directory, 'saved')

  const reply = await ask(protocol, '--output', saved, sealgate.url('/100'))

  expect(reply).toMatchObject({ status: 0, stderr: '' })
  expect(memory.growth()).toBeLessThan(FLAT)
  expect(await runTool('cmp', [file, saved])).toMatchObject({ status: 0, stdout: '' })
})

test.each(PROTOCOLS)('100 MB go up unchanged in flat memory (%s)', async (protocol) => {
  const memory = watchMemory()

  const reply = await ask(protocol, '--upload-file', file, sealgate.url('/compare'))

  expect(reply).toMatchObject({ status: 0, stdout: `${SIZE} bytes, unchanged` })
  expect(memory.growth()).toBeLessThan(FLAT)
})

test.each(PROTOCOLS)('a client that reads slowly makes the upstream wait (%s)', async (protocol) => {
  sent = 0
  const memory = watchMemory()
  const slow = ask(
    protocol,
    '--limit-rate',
    '20k',
    '--max-time',
    '3',
    '--output',
    '/dev/null',
    sealgate.url('/100'),
  )
  await untilSteady(() => sent)

  expect(sent).toBeGreaterThan(0)
  expect(sent).toBeLessThan(SIZE / 2)
  expect(memory.growth()).toBeLessThan(FLAT)
  expect((await ask(protocol, sealgate.url('/0'))).status).toBe(0) // others are served meanwhile
  expect((await slow).status).toBe(TIMED_OUT)
})

test.each(PROTOCOLS)('a client that writes slowly is waited for (%s)', async (protocol) => {
  const small = join(site.directory, 'small')
  writeFileSync(small, BLOCK.subarray(0, 48 * 1024))

  const reply = await ask(protocol, '--limit-rate', '32k', '--upload-file', small, sealgate.url('/compare'))

  expect(reply).toMatchObject({ status: 0, stdout: `${48 * 1024} bytes, unchanged` })
})

/** `/N`: N MB. `/compare`: is the body what the file is? */
function answer(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === '/compare') return void compare(request, response)
  const blocks = Number(request.url?.slice(1))
  response.setHeader('content-length', blocks * MB)
  void pipeline(
    Readable.from(
      (function* () {
        for (let block = 0; block < blocks; block++) {
          sent += MB
          yield BLOCK
        }
      })(),
      { objectMode: false, highWaterMark: 1 },
    ),
    response,
  ).catch(() => {}) // the client has left
}

async function compare(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let size = 0
  let unchanged = true
  for await (const chunk of request) {
    for (let at = 0; at < chunk.length; ) {
      const start = size % MB
      const length = Math.min(chunk.length - at, MB - start)
      unchanged &&= BLOCK.compare(chunk, at, at + length, start, start + length) === 0
      at += length
      size += length
    }
  }
  response.end(`${size} bytes, ${unchanged ? 'unchanged' : 'changed'}`)
}

function ask(...args: readonly string[]) {
  return curl('--cacert', site.ca, ...args)
}

/** Resident memory of the front process, over what it is now. */
function watchMemory(): { growth(): number } {
  const start = residentBytes()
  let peak = start
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes())
  }, 20)
  return {
    growth: () => {
      clearInterval(timer)
      return Math.max(peak, residentBytes()) - start
    },
  }
}

function residentBytes(): number {
  const status = readFileSync(`/proc/${sealgate.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

async function untilSteady(value: () => number): Promise<void> {
  let last = -1
  await vi.waitFor(
    () => {
      const now = value()
      const steady = now > 0 && now === last
      last = now
      if (!steady) throw new Error(`still changing: ${now}`)
    },
    { timeout: 5_000, interval: 300 },
  )
}

/** CURLE_OPERATION_TIMEDOUT */
const TIMED_OUT = 28

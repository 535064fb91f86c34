/** The way to a file that cannot do everything: a named pipe takes what is written to it, and refuses to be synced. */

import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { LogFile } from '../../../src/audit/log-file.ts'
import { LogWriter } from '../../../src/audit/log-writer.ts'
import { PATIENCE } from '../../support/patience.ts'

let directory: string
let path: string
let reader: number
let told: string[]
let writer: LogWriter

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-writer-'))
  path = join(directory, 'audit.jsonl')
  execFileSync('mkfifo', [path])
  reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  told = []
  writer = new LogWriter({
    file: await LogFile.open(path),
    audit: { rotateBytes: 1_000_000, keep: undefined, fsync: 'always' },
    events: {
      written: () => told.push('written'),
      rotated: () => told.push('rotated'),
      failing: (error) => told.push(`failing: ${'code' in error && error.code}`),
      healed: () => told.push('healed'),
    },
  })
})

afterEach(() => {
  closeSync(reader)
  rmSync(directory, { recursive: true, force: true })
})

test('what is in a file that cannot be synced has made room, and is not written again; it is tried until it can', async () => {
  writer.push('one\n')
  await vi.waitFor(() => expect(told).toContain('failing: EINVAL'), PATIENCE)

  expect(told[0]).toBe('written')
  expect(writer.buffered).toBe(0)
  expect(writer.error).toBeDefined()
  expect(read()).toBe('one\n')

  // A file that can takes its place; nobody has anything more to write.
  rmSync(path)
  await vi.waitFor(() => expect(told).toContain('healed'), PATIENCE)
  expect(writer.error).toBeUndefined()
  writer.push('two\n')
  expect(await writer.end(3_000)).toBe(true)
  expect(readFileSync(path, 'utf8')).toBe('two\n')
})

/** What is in the pipe now. */
function read(): string {
  const buffer = Buffer.alloc(65_536)
  try {
    return buffer.toString('utf8', 0, readSync(reader, buffer))
  } catch {
    return '' // nothing
  }
}

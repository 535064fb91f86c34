import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkWritable, readSignReport, writeReport } from '../../../src/bench/report/files.ts'
import { exitStatus } from '../../../src/errors.ts'
import { report } from './support.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-report-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('what was written is read again', () => {
  const file = join(folder, 'report.json')
  writeReport(file, JSON.stringify(report()))

  expect(readSignReport(file)).toEqual(report())
})

test.each([
  ['', 'is empty', 65],
  ['{"format": "sealgate', 'is not JSON', 65],
  ['[]', 'is JSON, but no report', 65],
  ['{"format":"sealgate-bench-handshake"}', 'is a report of `bench handshake`', 65],
  [JSON.stringify({ ...report(), version: 99 }), 'report of version 99; this Sealgate reads version 1', 65],
  [JSON.stringify({ ...report(), series: [{ path: 'pool' }] }), 'is damaged: series.0.', 65],
])('a file with %s is refused: %s', (text, message, status) => {
  const file = join(folder, 'report.json')
  writeFileSync(file, text)

  const error = caught(() => readSignReport(file))

  expect(error.message).toContain(message)
  expect(exitStatus(error)).toBe(status)
})

test('a file that is not there and one that is a folder are named with the reason', () => {
  const missing = caught(() => readSignReport(join(folder, 'none.json')))
  const directory = caught(() => readSignReport(folder))

  expect(missing.message).toMatch(/none\.json: there is no such file/)
  expect(directory.message).toMatch(/it is a folder/)
  expect([exitStatus(missing), exitStatus(directory)]).toEqual([66, 66])
})

test('a place that cannot be written to is found before anything is measured, and nothing is changed', () => {
  const there = join(folder, 'there.json')
  writeFileSync(there, 'of yesterday')
  const nowhere = caught(() => checkWritable([undefined, join(folder, 'no', 'such', 'report.json')]))
  const directory = caught(() => checkWritable([folder]))
  checkWritable([there, join(folder, 'new.json')])

  expect(nowhere.message).toMatch(/cannot write .*report\.json: there is no such file or folder/)
  expect(directory.message).toMatch(/it is a folder/)
  expect(exitStatus(nowhere)).toBe(73)
  expect(readFileSync(there, 'utf8')).toBe('of yesterday')
})

function caught(run: () => unknown): Error {
  try {
    run()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('nothing was thrown')
}

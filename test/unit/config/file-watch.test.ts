/** Files as people and machines replace them, in a real folder; looks are as often as the test needs. */

import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FileWatch } from '../../../src/config/file-watch.ts'

const INTERVAL_MS = 1_000

let directory: string
let file: string
let told: (readonly string[])[]
let watch: FileWatch

beforeEach(() => {
  vi.useFakeTimers()
  directory = mkdtempSync(join(tmpdir(), 'sealgate-watch-'))
  file = join(directory, 'chain.pem')
  writeFileSync(file, 'one')
  told = []
  watch = watching([file])
})

afterEach(() => {
  watch.close()
  vi.useRealTimers()
  rmSync(directory, { recursive: true, force: true })
})

test('a file that is written anew is told once, when a second look finds the same', () => {
  writeFileSync(file, 'two')
  vi.advanceTimersByTime(INTERVAL_MS)
  expect(told).toEqual([])

  writeFileSync(file, 'two and more')
  vi.advanceTimersByTime(500)
  expect(told).toEqual([])

  vi.advanceTimersByTime(500)
  expect(told).toEqual([[file]])
  vi.advanceTimersByTime(10 * INTERVAL_MS)
  expect(told).toEqual([[file]])
})

test('a file that is renamed over, or goes, or comes back as it was', () => {
  writeFileSync(`${file}.new`, 'two')
  renameSync(`${file}.new`, file)
  vi.advanceTimersByTime(3 * INTERVAL_MS)
  expect(told).toHaveLength(1)

  rmSync(file)
  vi.advanceTimersByTime(3 * INTERVAL_MS)
  expect(told).toHaveLength(2)

  writeFileSync(file, 'two')
  vi.advanceTimersByTime(3 * INTERVAL_MS)
  expect(told).toHaveLength(3)
})

test('a new date or inode with the same contents is no change', () => {
  utimesSync(file, 1, 1)
  vi.advanceTimersByTime(3 * INTERVAL_MS)
  copyFileSync(file, `${file}.new`)
  renameSync(`${file}.new`, file)
  vi.advanceTimersByTime(3 * INTERVAL_MS)

  expect(told).toEqual([])
})

test('the links of a mounted Kubernetes Secret are followed', () => {
  for (const version of ['1', '2']) {
    mkdirSync(join(directory, `..${version}`))
    writeFileSync(join(directory, `..${version}`, 'tls.crt'), version)
  }
  symlinkSync('..1', join(directory, '..data'))
  symlinkSync('..data/tls.crt', join(directory, 'tls.crt'))
  watch.close()
  watch = watching([join(directory, 'tls.crt')])

  symlinkSync('..2', join(directory, '..data_tmp'))
  renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
  vi.advanceTimersByTime(3 * INTERVAL_MS)

  expect(told).toHaveLength(1)
})

test('what was accepted is no change, what was written after it is', () => {
  writeFileSync(file, 'two')
  const seen = watch.contents([file])
  writeFileSync(file, 'three')
  watch.accept(seen)
  vi.advanceTimersByTime(3 * INTERVAL_MS)

  expect(told).toEqual([[file]])
})

test('after close nothing is told', () => {
  watch.close()
  watch.close()
  writeFileSync(file, 'two')
  vi.advanceTimersByTime(3 * INTERVAL_MS)

  expect(told).toEqual([])
})

function watching(files: readonly string[]): FileWatch {
  return new FileWatch(files, { intervalMs: INTERVAL_MS, onChange: (changed) => told.push(changed) })
}

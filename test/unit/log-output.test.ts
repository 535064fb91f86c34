/** A log's destination that is full, gone or never read: nobody waits for it, and what is missing is counted. */

import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LogOutput } from '../../src/log-output.ts'

const MODES = ['at once', 'buffered'] as const
/** More than a pipe (64 KiB) and the queue (1 MiB) hold. */
const TOO_MANY = 30_000
const line = (index: number): string => `{"line":${String(index).padStart(40)}}\n`
const lostText = (lines: number): string => `{"lost":${lines}}\n`

let directory: string
let fds: number[]
let reader: number

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-log-'))
  execFileSync('mkfifo', [join(directory, 'pipe')])
  fds = []
  reader = open(join(directory, 'pipe'), constants.O_RDONLY | constants.O_NONBLOCK)
})

afterEach(() => {
  for (const fd of fds) closeSync(fd)
  rmSync(directory, { recursive: true })
})

function open(file: string, flags: number): number {
  const fd = openSync(file, flags)
  fds.push(fd)
  return fd
}

/** As it is inherited: writes to it block. */
function pipe(mode: (typeof MODES)[number]): LogOutput {
  return new LogOutput({ fd: open(join(directory, 'pipe'), constants.O_WRONLY), mode, lostText })
}

function read(): string {
  const buffer = Buffer.alloc(1_048_576)
  let text = ''
  for (;;) {
    try {
      const length = readSync(reader, buffer)
      if (length === 0) return text
      text += buffer.toString('utf8', 0, length)
    } catch {
      return text // nothing more for now
    }
  }
}

test.each([
  ['at once', 0],
  ['buffered', 200],
] as const)('%s: a line is there after that, and no sooner', async (mode, afterMs) => {
  const output = pipe(mode)
  const beganMs = performance.now()
  output.write(line(1))
  if (afterMs === 0) expect(read()).toBe(line(1))
  else await expect.poll(read, { interval: 5 }).toBe(line(1))
  expect(performance.now() - beganMs).toBeGreaterThan(afterMs)
})

test.each(MODES)('%s: a pipe that nobody reads costs lines and no time; then it goes on', async (mode) => {
  const output = pipe(mode)
  // Whoever waited here would do so for ever: it is this thread that reads.
  for (let index = 0; index < TOO_MANY; index += 1) output.write(line(index))
  output.flush()

  let text = ''
  await expect.poll(() => (text += read()), { interval: 5 }).toContain('lost')
  const lines = text
    .trim()
    .split('\n')
    .map((each) => JSON.parse(each))
  const { lost } = lines.at(-1)
  expect(output.lostLines).toBe(lost)
  expect(lines.slice(0, -1).map((each) => Number(each.line))).toEqual(
    Array.from({ length: TOO_MANY - lost }, (_, index) => index),
  )
  output.write(line(1))
  await expect.poll(read).toBe(line(1))
})

test.each(MODES)('%s: a device that is full is no error, and flush ends', async (mode) => {
  const output = new LogOutput({ fd: openSync('/dev/full', 'w'), mode, lostText })
  output.write(line(1))
  await new Promise((resolve) => setTimeout(resolve, 300))
  output.write(line(2))
  output.flush()
})

test.each(MODES)('%s: a file that takes nothing is no error, and flush ends', async (mode) => {
  // Never closed: it is tried again and again, and must not become the number of another file.
  const output = new LogOutput({ fd: openSync('/etc/passwd', 'r'), mode, lostText })
  for (let index = 0; index < TOO_MANY; index += 1) output.write(line(index))
  await new Promise((resolve) => setTimeout(resolve, 700))
  output.write(line(2))
  output.flush()
})

test('a reader that has gone is no error; the next one gets what was kept', async () => {
  const output = pipe('at once')
  output.write(line(1))
  read()
  closeSync(fds.shift() ?? -1)
  output.write(line(2))
  reader = open(join(directory, 'pipe'), constants.O_RDONLY | constants.O_NONBLOCK)
  await expect.poll(read).toBe(line(2))
})

test.each(MODES)('%s: a file gets everything, in order', async (mode) => {
  const file = join(directory, 'log')
  const output = new LogOutput({ fd: open(file, constants.O_WRONLY | constants.O_CREAT), mode, lostText })
  const lines = Array.from({ length: 1_000 }, (_, index) => line(index))
  for (const each of lines.slice(0, 900)) output.write(each)
  await new Promise((resolve) => setTimeout(resolve, 300))
  for (const each of lines.slice(900)) output.write(each)
  output.flush()
  await expect.poll(() => readFileSync(file, 'utf8')).toBe(lines.join(''))
})

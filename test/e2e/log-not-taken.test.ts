/** The proxy outlives its log: a full disk and a collector that has stopped reading cost lines, not connections. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { freePort } from '../support/free-port.ts'
import { MetricsPage } from '../support/metrics-page.ts'
import { nodeUnderTest } from '../support/npm-start.ts'
import { program } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let file: string
let ports: { web: number; admin: number }
let child: ChildProcess | undefined

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_, response) => response.end('served'))
  ports = { web: await freePort(), admin: await freePort() }
  file = join(site.directory, 'sealgate.yaml')
  const address = `127.0.0.1:${ports.web}`
  const config = site.config([upstream.port], {
    listeners: [{ name: 'web', address, protocol: 'http', upstream: 'app' }],
    admin: { address: `127.0.0.1:${ports.admin}` },
  })
  writeFileSync(file, JSON.stringify(config))
})

afterEach(() => child?.kill('SIGKILL'))

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

/**
 * Serves, says that it does, and ends in its order.
 *
 * @param stdout `pipe`: one end of a socket pair, which Node makes, and nobody reads the other one.
 * @param before a command of the shell with the same standard output. @param meanwhile done while it serves.
 * @returns standard error.
 */
async function servesWith(
  stdout: number | 'pipe',
  before = ':',
  meanwhile: () => Promise<void> = async () => {},
): Promise<string> {
  const run = ['-c', `${before}; exec "$@"`, 'sh', nodeUnderTest, program, 'run', '--config', file]
  const started = spawn('sh', run, { stdio: ['ignore', stdout, 'pipe'] })
  child = started
  const ended = once(started, 'close')
  started.on('exit', () => started.stdout?.destroy())
  let stderr = ''
  started.stderr?.on('data', (text) => {
    stderr += text
  })
  const ready = `http://127.0.0.1:${ports.admin}/readyz`
  await vi.waitFor(async () => expect((await fetch(ready)).status).toBe(200), {
    timeout: 15_000,
    interval: 50,
  })
  for (let request = 0; request < 5; request += 1) {
    const reply = await curl('--cacert', site.ca, `https://localhost:${ports.web}/`)
    expect(reply).toMatchObject({ status: 0, stdout: 'served' })
    // Longer than lines are buffered: the next request comes after they could not be written.
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  await meanwhile()
  expect((await fetch(ready)).status).toBe(200)
  const beganMs = performance.now()
  started.kill('SIGTERM')
  expect(await ended).toEqual([0, null])
  expect(performance.now() - beganMs).toBeLessThan(5_000)
  return stderr
}

test('a device that is full, and what it did not take is counted', async () => {
  const full = openSync('/dev/full', 'w')
  const lost = async (): Promise<number> => {
    const metrics = await fetch(`http://127.0.0.1:${ports.admin}/metrics`)
    return new MetricsPage(await metrics.text()).sum('sealgate_log_lines_lost_total')
  }
  const meanwhile = async (): Promise<void> => {
    expect(await lost()).toBe(0)
    // On one connection, and with that in one thread: more than it keeps.
    const url = `https://localhost:${ports.web}/${'long'.repeat(2_000)}[1-200]`
    await curl('--silent', '--output', '/dev/null', '--cacert', site.ca, url)
    expect(await lost()).toBeGreaterThan(0)
  }
  expect(await servesWith(full, ':', meanwhile)).toBe('')
  closeSync(full)
})

test('a pipe that is full and never read', async () => {
  const pipe = join(site.directory, 'log')
  execFileSync('mkfifo', [pipe])
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
  const stuffing = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK)
  for (;;) {
    try {
      writeSync(stuffing, 'x\n'.repeat(2_048))
    } catch {
      break // full
    }
  }
  const stdout = openSync(pipe, 'w') // blocks writers, as what a shell makes
  expect(await servesWith(stdout)).toBe('')
  for (const fd of [stdout, stuffing, reader]) closeSync(fd)
})

test('a socket that is full and never read, as of a journal that has stopped', async () => {
  expect(await servesWith('pipe', 'timeout 1 yes')).toBe('')
})

test('a pipe with room for it gets every line', async () => {
  const pipe = join(site.directory, 'log-2')
  execFileSync('mkfifo', [pipe])
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
  const stdout = openSync(pipe, 'w')
  expect(await servesWith(stdout)).toBe('')
  closeSync(stdout)
  const text = Buffer.alloc(65_536)
  const lines = text
    .toString('utf8', 0, readSync(reader, text))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines.filter(({ requestId }) => requestId !== undefined)).toHaveLength(5)
  expect(lines.at(-1)).toMatchObject({ msg: 'stopped' })
  closeSync(reader)
})

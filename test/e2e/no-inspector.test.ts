/**
 * USR1, as log rotation sends it to other servers, and which opens Node's inspector by default: whoever connects there
 * runs code in the process. No process of Sealgate listens to it, and none is disturbed by it.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { nodeUnderTest } from '../support/npm-start.ts'
import { Faults } from '../support/p11-faults.ts'
import { descendants } from '../support/process-tree.ts'
import { program, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end('served'))
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('USR1 opens nothing in the front process or in a host, and the log says that there is nothing to reopen', async () => {
  await using sealgate = await startSealgate({ config: site.config([upstream.port]) })
  const processes = [sealgate.pid, ...descendants(sealgate.pid)]
  const before = processes.map(listeningSockets)

  for (const pid of processes) process.kill(pid, 'SIGUSR1')
  const said = await sealgate.logged(
    'ignored: the log is standard output, and whoever reads that has the files',
  )
  const { stdout } = await curl('--cacert', site.ca, sealgate.url())

  expect(processes).toHaveLength(2)
  expect(said).toMatchObject({ level: 'info', signal: 'SIGUSR1' })
  expect(stdout).toBe('served')
  expect(processes.map(listeningSockets)).toEqual(before)
  expect([sealgate.pid, ...descendants(sealgate.pid)]).toEqual(processes)
  expect(sealgate.lines.filter(({ msg }) => msg === 'hsm host printed')).toEqual([])
  await sealgate.finish()
})

test('USR1 opens nothing in the process of a command that has logged in, nor in the command', async () => {
  const faults = new Faults(site.softHsm, 'slow')
  // Long enough to look at it while it has the PIN.
  faults.set('C_FindObjects delay 500000')
  const file = join(site.directory, 'slow.yaml')
  const hsms = { 'hsm-a': { ...site.member(), ...faults.options } }
  writeFileSync(file, JSON.stringify(site.config([upstream.port], { hsms })))
  const command = spawn(nodeUnderTest, [program, 'keys', 'list', '--config', file], { stdio: 'ignore' })
  const ended = once(command, 'close')
  try {
    await vi.waitFor(() => expect(faults.calls('C_Login')).toBeGreaterThan(0), SOON)
    const processes = [command.pid ?? 0, ...descendants(command.pid ?? 0)]

    for (const pid of processes) process.kill(pid, 'SIGUSR1')
    const opened: string[] = []
    while (command.exitCode === null && command.signalCode === null) {
      opened.push(...processes.flatMap(listeningSockets))
      await delay(POLL_MS)
    }
    await ended

    expect(processes).toHaveLength(2)
    expect(opened).toEqual([])
    expect(command.exitCode).toBe(0)
  } finally {
    command.kill('SIGKILL')
  }
})

test("hosts are not told the front process's NODE_OPTIONS", async () => {
  const env = { ...process.env, NODE_OPTIONS: '--inspect=127.0.0.1:0' }
  await using sealgate = await startSealgate({ config: site.config([upstream.port]), env })

  const [host = 0] = descendants(sealgate.pid)

  expect(listeningSockets(host)).toEqual([])
  expect(readFileSync(`/proc/${host}/environ`, 'latin1')).not.toContain('NODE_OPTIONS')
  expect(await sealgate.stop()).toEqual({ status: 0, signal: null })
})

/** Inodes of the TCP sockets on which a process listens; none when it has gone. */
function listeningSockets(pid: number): string[] {
  try {
    const listening = ['tcp', 'tcp6'].flatMap((table) =>
      readFileSync(`/proc/${pid}/net/${table}`, 'latin1')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .flatMap(([, , , state, , , , , , inode]) =>
          state === LISTEN && inode !== undefined ? [inode] : [],
        ),
    )
    const open = readdirSync(`/proc/${pid}/fd`).map((fd) => targetOf(`/proc/${pid}/fd/${fd}`))
    return listening.filter((inode) => open.includes(`socket:[${inode}]`))
  } catch {
    return []
  }
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link)
  } catch {
    return '' // closed meanwhile
  }
}

/** TCP_LISTEN of the kernel's include/net/tcp_states.h. */
const LISTEN = '0A'
const POLL_MS = 20
const SOON = { timeout: 10_000, interval: 25 }

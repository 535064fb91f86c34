/** How the kernel schedules Sealgate's threads: as a batch where it may, and as somebody has said where somebody has. */

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { descendants } from '../support/process-tree.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

/** sched(7), as in /proc/PID/stat. */
const SCHED_OTHER = 0
const SCHED_BATCH = 3

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

test('front process, handshake and relay threads, HTTP workers and hosts are SCHED_BATCH', async () => {
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { threads: { tls: 2, http: 2 } }),
  })

  const { stdout } = await curl('--cacert', site.ca, sealgate.url())

  const policies = scheduledIn(sealgate)
  expect(stdout).toBe('served')
  expect(policies.main).toBe(SCHED_BATCH)
  expect(policies.hosts).toEqual([SCHED_BATCH])
  expect(policies.tls).toEqual([SCHED_BATCH, SCHED_BATCH])
  expect(policies.relays).toEqual([SCHED_BATCH, SCHED_BATCH])
  // Two workers, which Node does not name; what V8 has started before anything of ours ran does not matter.
  expect(policies.others.filter((policy) => policy === SCHED_BATCH).length).toBeGreaterThanOrEqual(2)
  await sealgate.finish()
})

// So that an open connection does not wait for those that begin.
test('what carries bytes takes short slices of the processor, what makes handshakes long ones', async () => {
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { threads: { tls: 2, http: 2 } }),
  })
  const [short, long] = slicesCanBeChosen() ? [100_000, 8_000_000] : [kernelsSlice(), kernelsSlice()]

  const { main, tls, relays, others, hosts } = scheduledIn(sealgate, sliceIn)

  expect([main, ...tls, ...hosts]).toEqual([long, long, long, long])
  expect(relays).toEqual([short, short])
  expect(others.filter((slice) => slice === short).length).toBeGreaterThanOrEqual(2)
  await sealgate.finish()
})

test('threads.scheduling: normal leaves every policy and slice as it was', async () => {
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { threads: { tls: 2, scheduling: 'normal' } }),
  })

  const { main, hosts, tls, relays, others } = scheduledIn(sealgate)
  const slices = scheduledIn(sealgate, sliceIn)

  expect(new Set([main, ...hosts, ...tls, ...relays, ...others])).toEqual(new Set([SCHED_OTHER]))
  expect(new Set([slices.main, ...slices.tls, ...slices.relays, ...slices.hosts, ...slices.others])).toEqual(
    new Set([kernelsSlice()]),
  )
  await sealgate.finish()
})

test('a kernel that refuses it costs a warning', async () => {
  const launcher = join(site.directory, 'refuse-scheduling')
  execFileSync('cc', ['-Wall', '-Werror', '-o', launcher, join(checkout, 'test/support/refuse-scheduling.c')])
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { threads: { tls: 2 } }),
    launcher: [launcher],
  })

  const { stdout } = await curl('--cacert', site.ca, sealgate.url())
  const warning = sealgate.lines.find(({ msg }) => msg?.startsWith('the kernel refuses SCHED_BATCH'))

  expect(stdout).toBe('served')
  expect(warning).toMatchObject({ level: 'warn', err: { code: 'EPERM' } })
  expect(scheduledIn(sealgate).tls).toEqual([SCHED_OTHER, SCHED_OTHER])
  await sealgate.finish()
})

test('a policy that somebody has chosen is kept', () => {
  // Idle for a moment only: beside other tests such a process would hardly run.
  const script = `
    import { execFileSync } from 'node:child_process'
    import { loadAddon } from ${JSON.stringify(join(checkout, 'dist/native/addon.js'))}
    const addon = loadAddon()
    execFileSync('chrt', ['--idle', '--pid', '0', String(process.pid)])
    addon.scheduleAsBatch()
    console.log(execFileSync('chrt', ['--pid', String(process.pid)], { encoding: 'utf8' }))
  `

  const policy = execFileSync(nodeUnderTest, ['--input-type=module', '--eval', script], { encoding: 'utf8' })

  expect(policy).toContain('SCHED_IDLE')
})

interface Scheduled {
  readonly main: number
  /** Those that make handshakes. */
  readonly tls: readonly number[]
  readonly relays: readonly number[]
  /** Of the front process. */
  readonly others: readonly number[]
  readonly hosts: readonly number[]
}

/** @param valueIn of the folder of a thread in /proc */
function scheduledIn({ pid }: Sealgate, valueIn = policyIn): Scheduled {
  const threads = readdirSync(`/proc/${pid}/task`).map((id) => {
    const folder = `/proc/${pid}/task/${id}`
    return { name: readFileSync(`${folder}/comm`, 'utf8').trim(), isMain: id === String(pid), folder }
  })
  const valuesOf = (wanted: (thread: (typeof threads)[number]) => boolean): number[] =>
    threads.filter(wanted).map(({ folder }) => valueIn(folder))
  const isTls = (name: string): boolean => /^tls-\d+$/.test(name)
  return {
    main: valueIn(`/proc/${pid}`),
    tls: valuesOf(({ name }) => isTls(name)),
    relays: valuesOf(({ name }) => name === 'relay'),
    others: valuesOf(({ name, isMain }) => !isMain && !isTls(name) && name !== 'relay'),
    hosts: descendants(pid).map((host) => valueIn(`/proc/${host}`)),
  }
}

/** By the numbers of proc_pid_stat(5); the second field is a name in parentheses, which may hold anything. */
function policyIn(folder: string): number {
  const stat = readFileSync(`${folder}/stat`, 'utf8')
  const fromThird = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fromThird[41 - 3])
}

/** In ns, as the kernel tells them whose scheduler has slices; before Linux 6.6 it has none. */
function sliceIn(folder: string): number {
  return Number(/^se\.slice\s*:\s*(\d+)$/m.exec(readFileSync(`${folder}/sched`, 'utf8'))?.[1] ?? 0)
}

function kernelsSlice(): number {
  return sliceIn('/proc/self')
}

/** Linux 6.12 was the first that heeds sched_attr.sched_runtime for SCHED_OTHER and SCHED_BATCH. */
function slicesCanBeChosen(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 12)
}

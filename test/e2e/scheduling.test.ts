/** How the kernel schedules Sealgate's threads: as a batch where it may, and as somebody has said where somebody has. */

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
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
const SCHED_IDLE = 5

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
test('what makes handshakes is nicer than what carries bytes', async () => {
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { threads: { tls: 2 } }),
  })

  const { main, tls, relays, hosts } = scheduledIn(sealgate, niceIn)

  expect(relays).toEqual([main, main])
  for (const nice of [...tls, ...hosts]) expect(nice).toBe(Math.min(main + 5, 19))
  expect(tls.length).toBe(2)
  await sealgate.finish()
})

test('threads.scheduling: normal leaves every policy and niceness as it was', async () => {
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { threads: { tls: 2, scheduling: 'normal' } }),
  })

  const { main, hosts, tls, relays, others } = scheduledIn(sealgate)

  const nice = scheduledIn(sealgate, niceIn)

  expect(new Set([main, ...hosts, ...tls, ...relays, ...others])).toEqual(new Set([SCHED_OTHER]))
  expect(new Set([...nice.tls, ...nice.relays, ...nice.hosts])).toEqual(new Set([nice.main]))
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
    import { readFileSync } from 'node:fs'
    import { loadAddon } from ${JSON.stringify(join(checkout, 'dist/native/addon.js'))}
    const addon = loadAddon()
    execFileSync('chrt', ['--idle', '--pid', '0', String(process.pid)])
    addon.scheduleAsBatch()
    console.log(readFileSync('/proc/self/stat', 'utf8'))
  `

  const stat = execFileSync(nodeUnderTest, ['--input-type=module', '--eval', script], { encoding: 'utf8' })

  expect(policyIn(stat)).toBe(SCHED_IDLE)
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

function scheduledIn({ pid }: Sealgate, valueIn = policyIn): Scheduled {
  const threads = readdirSync(`/proc/${pid}/task`).map((id) =>
    readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8'),
  )
  const isMain = (stat: string): boolean => stat.startsWith(`${pid} `)
  const isTls = (stat: string): boolean => /\(tls-\d+\)/.test(stat)
  const isRelay = (stat: string): boolean => stat.includes('(relay)')
  return {
    main: valueIn(threads.find(isMain) ?? ''),
    tls: threads.filter(isTls).map(valueIn),
    relays: threads.filter(isRelay).map(valueIn),
    others: threads.filter((stat) => !isMain(stat) && !isTls(stat) && !isRelay(stat)).map(valueIn),
    hosts: descendants(pid).map((host) => valueIn(readFileSync(`/proc/${host}/stat`, 'utf8'))),
  }
}

/** By the numbers of proc_pid_stat(5); the second field is a name in parentheses, which may hold anything. */
function fieldIn(stat: string, number: number): number {
  const fromThird = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fromThird[number - 3])
}

function policyIn(stat: string): number {
  return fieldIn(stat, 41)
}

function niceIn(stat: string): number {
  return fieldIn(stat, 19)
}

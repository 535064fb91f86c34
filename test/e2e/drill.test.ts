/**
 * The drill as README.md and `sealgate drill --help` tell it: build the module, put the printed lines into the
 * configuration of one HSM, command faults while clients make full handshakes. None of them fails, and when the drill
 * is over the HSM signs again.
 */

import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { failures, HandshakeLoad, type LoadResult } from '../support/handshake-load.ts'
import { checkout } from '../support/npm-start.ts'
import { type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { runTool } from '../support/tools.ts'

const USAGE = 64
const UNAVAILABLE = 69

let site: Site
let load: HandshakeLoad
let upstream: TestUpstream

beforeAll(async () => {
  site = new Site()
  load = await HandshakeLoad.compile()
  upstream = await startUpstream((_request, response) => response.end('served'))
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  load?.[Symbol.dispose]()
  site?.[Symbol.dispose]()
})

test('an HSM fails, hangs, loses its token and reboots on command, and no handshake fails', async () => {
  const control = join(site.directory, 'hsm-b.faults')
  const text = await configWithDrill(control)
  await using sealgate = await startSealgate({ config: text })
  const warning = sealgate.lines.find(({ msg }) => msg?.includes('for drills only'))
  expect(warning).toMatchObject({ level: 'warn', hsm: 'hsm-b' })
  let loading = true
  const running = loadWhile(sealgate, () => loading)
  await untilSigning(sealgate, 'hsm-b')

  await say(control, 'C_Sign fail CKR_DEVICE_ERROR always', '* delay 1ms-2ms')
  await vi.waitFor(async () => expect(await errors(sealgate, 'CKR_DEVICE_ERROR')).toBeGreaterThan(0), WAIT)
  await say(control, 'C_Sign hang probability 0.2')
  await untilNotUp(sealgate, 'hsm-b')
  await say(control, '* removed')
  await untilNotUp(sealgate, 'hsm-b')
  await clear(control)
  await untilSigning(sealgate, 'hsm-b')
  await say(control, '* reboot')
  await vi.waitFor(async () => expect(await lostSessions(sealgate)).toBeGreaterThan(0), WAIT)
  await clear(control)
  await untilSigning(sealgate, 'hsm-b')

  loading = false
  const results = await running
  for (const result of results) {
    expect(result.firstError).toBe('')
    expect(failures(result)).toBe(0)
    expect(result.handshakes).toBeGreaterThan(0)
  }
  expect((await sealgate.metrics()).sum('sealgate_handshakes_total', { result: 'failed' })).toBe(0)
  await sealgate.finish()
}, 90_000)

test('`check` says that an HSM is set up for a drill, and is content otherwise', async () => {
  const file = join(site.directory, 'drill.yaml')
  writeFileSync(file, await configWithDrill(join(site.directory, 'checked.faults')))

  const { status, stdout } = await sealgateCommand(['check', '--config', file])

  expect({ status, stdout }).toMatchObject({ status: 0 })
  expect(stdout).toMatch(/^warning +hsm-b +behind the fault module, which is for drills only$/m)
})

test.each([
  [['drill'], /Usage: sealgate drill/],
  [['drill', 'modul'], /unknown command 'modul'\n\(Did you mean module\?\)/],
  [['drill', 'module'], /--for MODULE is missing/],
  [['drill', 'module', '--for', '/nowhere/p11.so'], /\/nowhere\/p11\.so: there is no such file/],
  [['drill', 'say', 'x.faults'], /missing required argument 'rule'/],
  [
    ['drill', 'say', 'x.faults', 'C_Sign hnag'],
    /rule 1, word 2: "hnag" is no effect.*; did you mean "hang"\?/,
  ],
  [['drill', 'clear'], /missing required argument 'file'/],
])('%j is a usage error, and nothing is written', async (args, says) => {
  const refused = await sealgateCommand(args)

  expect(refused).toMatchObject({ status: USAGE, stdout: '' })
  expect(refused.stderr).toMatch(says)
  expect(existsSync('x.faults')).toBe(false)
})

test('the real module is never overwritten', async () => {
  const { module } = site.softHsm

  const refused = await sealgateCommand(['drill', 'module', '--for', module, '--out', module])

  expect(refused).toMatchObject({ status: USAGE, stderr: expect.stringContaining('would be overwritten') })
})

test('a machine without a compiler is told what to do', async () => {
  const out = join(site.directory, 'never.so')
  const args = ['drill', 'module', '--for', site.softHsm.module, '--out', out]

  const refused = await sealgateCommand(args, { ...process.env, PATH: '/nowhere' })

  expect(refused).toMatchObject({ status: UNAVAILABLE })
  expect(refused.stderr).toMatch(
    /no C compiler here: install one .* or build the module on a machine of the same kind/,
  )
})

test('the package has what `drill module` compiles', async () => {
  const pack = await runTool('npm', ['pack', '--dry-run', '--json', checkout], { timeoutMs: PACK_MS })
  const [{ files }]: [{ files: { path: string }[] }] = JSON.parse(pack.stdout)

  const shipped = files.map(({ path }) => path).filter((path) => path.startsWith('src/drill/'))
  expect(shipped).toEqual(['src/drill/p11-faults.c', 'src/drill/pkcs11.h'])
}, 60_000)

/** Two members on one token; `hsm-b` has the lines that `drill module` prints, put where it says. */
async function configWithDrill(control: string): Promise<string> {
  const out = join(site.directory, 'drill.so')
  const args = ['drill', 'module', '--for', site.softHsm.module, '--out', out, '--control', control]
  const { status, stdout, stderr } = await sealgateCommand(args)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const { env, module: _, ...rest } = site.member()
  const others = Object.entries(rest).map(([key, value]) => `    ${key}: ${JSON.stringify(value)}\n`)
  const { hsms: __, ...config } = Object(
    site.config([upstream.port], { certificates: [site.certificate({ hsms: ['hsm-a', 'hsm-b'] })] }),
  )
  const top = Object.entries(config).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
  const [[name, conf] = ['', '']] = Object.entries(Object(env))
  return `hsms:
  hsm-a: ${JSON.stringify(site.member())}
  hsm-b:
${stdout}      ${name}: ${JSON.stringify(conf)}
${others.join('')}${top.join('')}`
}

async function say(control: string, ...rules: readonly string[]): Promise<void> {
  expect(await sealgateCommand(['drill', 'say', control, ...rules])).toMatchObject({ status: 0, stderr: '' })
}

async function clear(control: string): Promise<void> {
  expect(await sealgateCommand(['drill', 'clear', control])).toMatchObject({ status: 0, stderr: '' })
}

async function errors(sealgate: Sealgate, rv: string): Promise<number> {
  return (await sealgate.metrics()).sum('sealgate_hsm_errors_total', { hsm: 'hsm-b', rv })
}

async function lostSessions(sealgate: Sealgate): Promise<number> {
  const lost = ['CKR_SESSION_HANDLE_INVALID', 'CKR_KEY_HANDLE_INVALID', 'CKR_OBJECT_HANDLE_INVALID']
  const counts = await Promise.all(lost.map((rv) => errors(sealgate, rv)))
  return counts.reduce((sum, count) => sum + count, 0)
}

async function untilSigning(sealgate: Sealgate, hsm: string): Promise<void> {
  const signed = async () =>
    (await sealgate.metrics()).sum('sealgate_signatures_total', { hsm, result: 'ok' })
  const before = await signed()
  await vi.waitFor(async () => expect(await signed()).toBeGreaterThan(before + 20), WAIT)
}

async function untilNotUp(sealgate: Sealgate, hsm: string): Promise<void> {
  await vi.waitFor(
    async () => expect((await sealgate.metrics()).sum('sealgate_hsm_up', { hsm })).toBe(0),
    WAIT,
  )
}

async function loadWhile(sealgate: Sealgate, wanted: () => boolean): Promise<LoadResult[]> {
  const results: LoadResult[] = []
  while (wanted()) results.push(await load.run(sealgate.port(), '--concurrency', '20', '--seconds', '1'))
  return results
}

// npm takes its time on a busy machine.
const PACK_MS = 55_000
const WAIT = { timeout: 20_000, interval: 25 }

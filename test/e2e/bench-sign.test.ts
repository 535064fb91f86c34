/**
 * `sealgate bench sign` as a capacity planner uses it: on real tokens, alone and together, through the pool and raw; with HSMs that
 * throttle, fail and refuse the PIN; interrupted; asked for nonsense.
 */

import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { readSignReport } from '../../src/bench/report/files.ts'
import type { Series } from '../../src/bench/report/sign-report.ts'
import { BenchSite } from '../support/bench-site.ts'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { sealgateCommand } from '../support/sealgate.ts'

const QUICK = ['--seconds', '0.3', '--warm-up', '0.1']
const EC = ['--schemes', 'ecdsa_secp256r1_sha256']

let bench: BenchSite

beforeAll(() => {
  bench = new BenchSite()
})

afterEach(() => bench.faults.clear())

afterAll(() => bench?.[Symbol.dispose]())

test('each HSM is measured through the pool and raw, then both together through the pool', async () => {
  const json = bench.path('both.json')
  const args = [...QUICK, ...EC, '--sessions', '1,2', '--json', json]

  const { status, stdout, stderr } = await benchSign('--config', bench.config, ...args)

  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const report = readSignReport(json)
  expect(report.series.map(({ path, members }) => `${path} ${members.join('+')}`)).toEqual([
    'pool hsm-a',
    'raw hsm-a',
    'pool hsm-b',
    'raw hsm-b',
    'pool hsm-a+hsm-b',
  ])
  for (const series of report.series) expectSound(series, [1, 2])
  expect(report).toMatchObject({ complete: true, notes: [], hsms: [{ name: 'hsm-a' }, { name: 'hsm-b' }] })
  // The table: a line for each step, and the advice.
  expect(stdout.match(/^ +[12] {2}/gm)).toHaveLength(10)
  expect(stdout).toMatch(/in-flight limit +sessions/)
  for (const pin of bench.pins) expect(stdout + readFileSync(json, 'utf8')).not.toContain(pin)
}, 60_000)

test('without --sessions the ladder doubles until the knee, and says why it stopped', async () => {
  const json = bench.path('knee.json')
  const args = [
    '--seconds',
    '0.2',
    '--warm-up',
    '0.1',
    ...EC,
    '--path',
    'pool',
    '--hsm',
    'hsm-a',
    '--json',
    json,
  ]

  const { status, stdout } = await benchSign('--config', bench.config, ...args)

  expect(status).toBe(0)
  const [series] = readSignReport(json).series
  const sessions = series?.steps.map((step) => step.sessions) ?? []
  expect(sessions).toEqual(sessions.map((_, index) => 2 ** index))
  expect(sessions.length).toBeGreaterThan(2)
  expect(['knee', 'token-limit', 'ladder-end']).toContain(series?.stop.reason)
  expect(stdout).toMatch(/knee at \d+: .* signatures\/s; stopped \((?:knee|token-limit|ladder-end)\): /)
}, 60_000)

test('every scheme that the keys can do is measured', async () => {
  const json = bench.path('schemes.json')
  const args = ['--seconds', '0.1', '--warm-up', '0.05', '--sessions', '1', '--hsm', 'hsm-a', '--json', json]

  await benchSign('--config', bench.config, ...args)

  const { series } = readSignReport(json)
  expect(new Set(series.map(({ scheme }) => scheme))).toEqual(
    new Set([
      'ecdsa_secp256r1_sha256',
      ...['rsa_pss_rsae_sha256', 'rsa_pss_rsae_sha384', 'rsa_pss_rsae_sha512'],
      ...['rsa_pkcs1_sha256', 'rsa_pkcs1_sha384', 'rsa_pkcs1_sha512'],
    ]),
  )
  for (const each of series) expectSound(each, [1])
}, 60_000)

test.each([
  ['EC:prime256v1', 'ecdsa_secp256r1_sha256'],
  ['EC:secp384r1', 'ecdsa_secp384r1_sha384'],
  ['EC:edwards25519', 'ed25519'],
  ['rsa:2048', 'rsa_pss_rsae_sha256'],
] as const)('a %s key needs no configuration: the token tells its public half', async (type, scheme) => {
  const { token, softHsm } = bench.site
  const label = `bare-${scheme}`
  token.generateKey({ label, id: hash('sha256', label).slice(0, 8), type })
  const hsm = ['--module', softHsm.module, '--token', token.label, '--pin-file', token.pinFile]
  const env = ['--env', `SOFTHSM2_CONF=${softHsm.conf}`]
  const json = bench.path(`${label}.json`)
  const args = [
    ...hsm,
    ...env,
    '--key',
    `pkcs11:object=${label}`,
    ...QUICK,
    '--sessions',
    '1',
    '--schemes',
    scheme,
  ]

  const { status, stderr } = await benchSign(...args, '--json', json)

  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const { series } = readSignReport(json)
  expect(series.map(({ path }) => path)).toEqual(['pool', 'raw'])
  for (const each of series) expectSound(each, [1])
})

test('an HSM that throttles signs what it grants, and raw, where nobody goes easy on it, says busy in the table', async () => {
  const json = bench.path('busy.json')
  bench.faults.set('C_Sign rate 200')
  const args = [...QUICK, ...EC, '--hsm', 'hsm-b', '--sessions', '4', '--json', json]

  const { stdout } = await benchSign('--config', bench.config, ...args)

  const [pool, raw] = readSignReport(json).series.map(({ steps }) => steps[0])
  expect(pool?.signatures).toBeGreaterThan(0)
  expect(raw?.signatures).toBeGreaterThan(0)
  expect(raw?.throttled).toBeGreaterThan(0)
  expect(raw?.errors).toEqual({ CKR_FUNCTION_FAILED: raw?.throttled })
  expect(stdout).toMatch(/ [0-9]+ . CKR_FUNCTION_FAILED, said busy [0-9]+/)
})

test('an HSM that fails in the middle is in the table and in the status, with what it said', async () => {
  const json = bench.path('failing.json')
  const args = [...QUICK, ...EC, '--hsm', 'hsm-b', '--sessions', '1,2,4', '--json', json]

  const { status, stdout, stderr } = await benchSign('--config', bench.config, ...args).while((output) => {
    if (/^ +1 {2}/m.test(output))
      bench.faults.set('C_Sign rv CKR_DEVICE_ERROR', 'C_Initialize rv CKR_DEVICE_ERROR')
  })

  expect({ status, stderr }).toEqual({ status: 69, stderr: '' })
  const report = readSignReport(json)
  expect(report.complete).toBe(false)
  expect(report.series[0]?.stop).toMatchObject({ reason: 'gone' })
  expect(stdout).toMatch(/nothing was signed/)
  expect(stdout).not.toMatch(/^ {4}at /m)
}, 60_000)

test('a wrong PIN is tried once: not again raw, not again together', async () => {
  const logins = bench.faults.calls('C_Login')
  const config = bench.configWithPin('00000000')

  const { status, stdout, stderr } = await benchSign('--config', config, ...QUICK)
  bench.forgiveWrongPins()

  expect(status).toBe(69)
  expect(stdout + stderr).toMatch(/refused the PIN/)
  expect(bench.faults.calls('C_Login') - logins).toBe(1)
})

test('Ctrl-C ends it with what was measured', async () => {
  const json = bench.path('interrupted.json')
  const html = bench.path('interrupted.html')
  const args = ['--seconds', '0.5', '--warm-up', '0.1', ...EC, '--json', json, '--html', html]
  const running = benchSign('--config', bench.config, ...args)
  let interrupted = false

  const { status, stdout, stderr } = await running.while((output, interrupt) => {
    // Once: a second one does not wait for anything.
    if (/^ +2 {2}/m.test(output) && !interrupted) interrupt()
    interrupted = /^ +2 {2}/m.test(output)
  })

  expect({ status, stderr }).toEqual({ status: 130, stderr: '' })
  const report = readSignReport(json)
  expect(report.complete).toBe(false)
  expect(report.series).toHaveLength(1)
  expect(report.series[0]?.stop.reason).toBe('interrupted')
  expect(report.series[0]?.steps.map(({ sessions }) => sessions).slice(0, 2)).toEqual([1, 2])
  expect(stdout).toMatch(/the run was stopped/)
  expect(existsSync(html)).toBe(true)
})

test.each([
  [['--config', 'CONFIG', '--seconds', '0'], 64, '--seconds 0: give seconds, more than 0'],
  [
    ['--config', 'CONFIG', '--schemes', 'ecdsa_secp256r1_sha265'],
    64,
    'did you mean "ecdsa_secp256r1_sha256"?',
  ],
  [['--config', 'CONFIG', '--sessions', '1,two'], 64, '--sessions two: give a whole number'],
  [['--config', 'CONFIG', '--sessions', '9999'], 64, 'give a whole number from 1 to 256'],
  [['--config', 'CONFIG', '--hsm', 'hsm-c'], 64, 'did you mean "hsm-'],
  [['--config', 'CONFIG', '--key', 'pkcs11:object=other'], 64, 'the configuration has no such'],
  [['--config', 'CONFIG', '--certificate', 'nobody.example'], 64, 'the configuration has no such'],
  [['--config', 'CONFIG', '--module', '/x.so'], 64, '--module and --config exclude each other'],
  [['--config', 'CONFIG', '--path', 'both-of-them'], 64, 'Allowed choices are pool, raw, both'],
  [['--config', 'CONFIG', '--resumed', '1'], 64, 'give a share from 0 to less than 1'],
  [['--config', 'CONFIG', '--json', '/no/such/folder/a.json'], 73, 'there is no such file or folder'],
  [['--config', '/no/such.yaml'], 78, 'no such'],
  [
    ['--module', '/no/such.so', '--token', 't', '--pin-file', '/dev/null', '--key', 'pkcs11:object=a'],
    64,
    '--module /no/such.so: there is no such file',
  ],
  [[], 64, 'what is to be measured?'],
  [['--sesions', '4'], 64, 'Did you mean --sessions?'],
] as const)('%j ends with %i and says: %s', async (args, status, message) => {
  const given = args.map((arg) => (arg === 'CONFIG' ? bench.config : arg))

  const outcome = await benchSign(...given)

  expect(outcome.stderr).toContain(message)
  expect(outcome.status).toBe(status)
  expect(outcome.stderr).not.toMatch(/^ {4}at |unexpected error/m)
})

test.each([
  ['bench', 'sign'],
  ['bench', 'handshake'],
  ['bench', 'compare'],
  ['bench', 'plan'],
])('%s %s --help has examples and exit statuses', async (...command) => {
  const { status, stdout } = await sealgateCommand([...command, '--help'])

  expect(status).toBe(0)
  expect(stdout).toMatch(/Exit status: 0, 64 usage/)
  expect(stdout).toMatch(new RegExp(`^ {2}\\$ sealgate ${command.join(' ')} `, 'm'))
})

function expectSound({ steps, knee, path }: Series, sessions: readonly number[]): void {
  expect(steps.map((step) => step.sessions)).toEqual(sessions)
  expect(knee?.rate).toBeGreaterThan(0)
  for (const { signatures, seconds, rate, latencyMs, errors, inFlightLimit } of steps) {
    expect(errors).toEqual({})
    expect(signatures).toBeGreaterThan(0)
    expect(rate).toBeCloseTo(signatures / seconds, 6)
    const { p50, p90, p99, max } = latencyMs
    expect([p50, p90, p99, max]).toEqual([p50, p90, p99, max].sort((a, b) => a - b))
    expect(p50).toBeGreaterThan(0)
    expect(inFlightLimit === null).toBe(path === 'raw')
  }
}

interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

type Watch = (stdout: string, interrupt: () => void) => void

/** A promise of its end; `while` watches what it prints, which is not possible with a command that has ended. */
function benchSign(...args: readonly string[]): Promise<Outcome> & { while(watch: Watch): Promise<Outcome> } {
  const program = join(checkout, 'dist/cli/main.js')
  const child = spawn(nodeUnderTest, [program, 'bench', 'sign', ...args], { stdio: 'pipe', timeout: 55_000 })
  const output = { stdout: '', stderr: '' }
  let watch: Watch = () => {}
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text
    watch(output.stdout, () => child.kill('SIGINT'))
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text
  })
  const ended = once(child, 'close').then(([status]): Outcome => ({ status, ...output }))
  return Object.assign(ended, {
    while: (watcher: Watch) => {
      watch = watcher
      return ended
    },
  })
}

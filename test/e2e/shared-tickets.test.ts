/**
 * Two proxies that share ticket keys, wrapped by an AES key in the HSM: a session made at one resumes at the other, with no
 * signature. Both rotate the keys when it is time; one whose HSM is away at its start has its own until the HSM is back.
 */

import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { Faults } from '../support/p11-faults.ts'
import { Redis } from '../support/redis.ts'
import { type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

const VERSIONS = [
  ['-tls1_2', 'TLSv1.2'],
  ['-tls1_3', 'TLSv1.3'],
] as const

let site: Site
let upstream: TestUpstream
let certificate: object
let sessions = 0

beforeAll(async () => {
  site = new Site()
  site.token.generateAesKey({ label: 'tickets', id: 'a1' })
  certificate = site.certificate()
  upstream = await startUpstream((_request, response) => response.end('served'))
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

describe('two proxies with one directory', () => {
  let directory: string
  let a: Sealgate
  let b: Sealgate

  beforeAll(async () => {
    directory = folder('shared')
    // At once: both find nothing, and end with one set.
    ;[a, b] = await Promise.all([
      startSealgate({ config: sharing({ directory }) }),
      startSealgate({ config: sharing({ directory }) }),
    ])
  })

  afterAll(async () => {
    await a?.finish()
    await b?.finish()
  })

  test.each(VERSIONS)('resume each other’s sessions without a signature (%s)', async (option, version) => {
    for (const [maker, resumer] of [
      [a, b],
      [b, a],
    ] as const) {
      const session = await sessionFrom(maker, option)
      const before = await counts(resumer, version)

      const { stdout } = await connect(resumer, option, '-sess_in', session)

      expect(stdout).toMatch(/^Reused, TLSv1/m)
      expect(stdout).toContain('served')
      const after = await counts(resumer, version)
      expect(after).toEqual({ ...before, resumed: before.resumed + 1 })
    }
  })

  test('leave nothing in the directory but ciphertext, names and dates', async () => {
    expect(readdirSync(directory)).toEqual(['ticket-keys'])
    const [first, header = '', body = ''] = readFileSync(join(directory, 'ticket-keys'), 'utf8').split('\n')
    expect(first).toBe('sealgate ticket keys 1')
    expect(Object.keys(JSON.parse(header))).toEqual(['key', 'created', 'keys'])
    // IV and its length, two keys of 80 bytes, the tag.
    expect(Buffer.from(body, 'base64').length).toBe(1 + 12 + 160 + 16)
  })

  test('say in status and metrics whose keys are in use', async () => {
    for (const sealgate of [a, b]) {
      expect(await sharedStatus(sealgate)).toMatchObject({
        place: join(directory, 'ticket-keys'),
        inUse: 'shared',
        rotates: 'here',
        keys: [{ state: 'next' }, { state: 'first' }],
      })
      const metrics = await sealgate.metrics()
      expect(metrics.sum('sealgate_ticket_keys_in_use', { source: 'shared' })).toBe(1)
      expect(metrics.sum('sealgate_ticket_keys_in_use', { source: 'local' })).toBe(0)
      expect(metrics.sum('sealgate_ticket_keys', { source: 'shared' })).toBe(2)
      expect(metrics.sum('sealgate_ticket_keys', { source: 'local' })).toBe(1)
    }
  })

  test('go on to the next key together when an operator says so, and old sessions still resume', async () => {
    const session = await sessionFrom(a, '-tls1_3')
    const next = (await sharedStatus(a))?.keys?.find(({ state }) => state === 'next')?.name
    expect(next).toBeDefined()
    const { status, stdout } = await tickets('rotate', { directory }, '--now')
    expect(stdout).toContain('rotated')
    expect(status).toBe(0)

    // A quarter of the interval after it was made known, all at the same time.
    for (const sealgate of [a, b])
      await vi.waitFor(async () => expect(await firstKeyOf(sealgate)).toBe(next), {
        ...WAIT,
        timeout: 30_000,
      })

    for (const sealgate of [a, b]) {
      const { stdout } = await connect(sealgate, '-tls1_3', '-sess_in', session)
      expect(stdout).toMatch(/^Reused, TLSv1.3/m)
    }
    const fresh = await sessionFrom(b, '-tls1_2')
    expect((await connect(a, '-tls1_2', '-sess_in', fresh)).stdout).toMatch(/^Reused, TLSv1.2/m)
  })

  test('take no session of before when the set is replaced as a whole', async () => {
    const session = await sessionFrom(a, '-tls1_3')

    const { status } = await tickets('rotate', { directory }, '--replace')

    expect(status).toBe(0)
    const made = await firstOf(join(directory, 'ticket-keys'))
    for (const sealgate of [a, b])
      await vi.waitFor(async () => expect((await sharedStatus(sealgate))?.created).toBe(made.created), WAIT)
    for (const sealgate of [a, b])
      expect((await connect(sealgate, '-tls1_3', '-sess_in', session)).stdout).toMatch(/^New, TLSv1.3/m)
  })
})

describe('two proxies with one Redis', () => {
  test('resume each other’s sessions, also after Redis was away, and never log its password', async () => {
    await using redis = await Redis.start(folder('redis'))
    const place = { redis: { url: redis.url, password: { file: redis.passwordFile } } }
    await using a = await startSealgate({ config: sharing(place) })
    await using b = await startSealgate({ config: sharing(place) })
    for (const [option] of VERSIONS) {
      const session = await sessionFrom(a, option)
      expect((await connect(b, option, '-sess_in', session)).stdout).toMatch(/^Reused, TLSv1/m)
    }
    const session = await sessionFrom(a, '-tls1_3')

    await redis.stop()
    for (const sealgate of [a, b])
      await vi.waitFor(
        async () => expect((await sharedStatus(sealgate))?.problem?.code).toBe('ERR_TICKETS_PLACE'),
        WAIT,
      )
    // What is known is used on.
    expect((await connect(b, '-tls1_3', '-sess_in', session)).stdout).toMatch(/^Reused, TLSv1.3/m)
    await redis.start()
    for (const sealgate of [a, b])
      await vi.waitFor(async () => expect((await sharedStatus(sealgate))?.problem).toBeUndefined(), {
        ...WAIT,
        timeout: 20_000,
      })

    const again = await sessionFrom(b, '-tls1_2')
    expect((await connect(a, '-tls1_2', '-sess_in', again)).stdout).toMatch(/^Reused, TLSv1.2/m)
    for (const sealgate of [a, b]) {
      const said = JSON.stringify(sealgate.lines) + (await sealgate.admin('/status'))?.text
      expect(said).toContain('shared ticket keys cannot be renewed')
      expect(said).not.toContain(redis.password)
      await sealgate.finish()
    }
  })
})

test('a mounted Secret is read, never written, and followed when its link turns', async () => {
  const directory = folder('mounted')
  const made = folder('made')
  const out = join(made, 'ticket-keys')
  expect(await tickets('rotate', { directory: made })).toMatchObject({ status: 0 })
  mount(directory, readFileSync(out, 'utf8'))
  await using a = await startSealgate({ config: sharing({ directory }) })
  await using b = await startSealgate({ config: sharing({ directory }) })
  expect(await sharedStatus(a)).toMatchObject({ inUse: 'shared', rotates: 'elsewhere' })
  const session = await sessionFrom(a, '-tls1_3')
  expect((await connect(b, '-tls1_3', '-sess_in', session)).stdout).toMatch(/^Reused, TLSv1.3/m)

  // As a CronJob does it: it reads what is mounted, and what it prints goes into the Secret.
  const { status, stdout } = await tickets('rotate', { directory }, '--replace', '--out', '-')
  expect(status).toBe(0)
  expect(stdout).not.toBe(readFileSync(join(directory, 'ticket-keys'), 'utf8'))
  mount(directory, stdout)

  const { created } = JSON.parse(stdout.split('\n')[1] ?? '')
  for (const sealgate of [a, b])
    await vi.waitFor(async () => expect((await sharedStatus(sealgate))?.created).toBe(created), WAIT)
  const next = await sessionFrom(b, '-tls1_2')
  expect((await connect(a, '-tls1_2', '-sess_in', next)).stdout).toMatch(/^Reused, TLSv1.2/m)
  expect(readdirSync(directory).sort()).toEqual(['..1', '..2', '..data', 'ticket-keys'])
  const due = await tickets('rotate', { directory }, '--out', join(made, 'again'))
  expect(due.stdout).toContain('nothing is due')
  expect(readFileSync(join(made, 'again'), 'utf8')).toBe(stdout)
  for (const sealgate of [a, b]) await sealgate.finish()
})

test('the HSM with the wrapping key is away at the start: own keys and a warning, then the shared ones', async () => {
  const directory = folder('late-hsm')
  const faults = new Faults(site.softHsm, 'hsm-b')
  const hsms = { 'hsm-a': site.member(), 'hsm-b': { ...site.member(), ...faults.options } }
  const late = sharing({ directory }, { hsms }, ['hsm-b'])
  await using a = await startSealgate({ config: sharing({ directory }) })
  faults.set('* removed')
  await using b = await startSealgate({ config: late })

  expect(await b.logged('ticket keys are local: sessions do not resume at other nodes')).toMatchObject({
    level: 'warn',
    using: 'local',
  })
  expect((await b.metrics()).sum('sealgate_ticket_keys_in_use', { source: 'local' })).toBe(1)
  const session = await sessionFrom(a, '-tls1_3')
  expect((await connect(b, '-tls1_3', '-sess_in', session)).stdout).toMatch(/^New, TLSv1.3/m)
  const own = await sessionFrom(b, '-tls1_3')

  faults.clear()
  await b.logged('shared ticket keys are in use', 15_000)

  expect((await b.metrics()).sum('sealgate_ticket_keys_in_use', { source: 'local' })).toBe(0)
  expect((await connect(b, '-tls1_3', '-sess_in', session)).stdout).toMatch(/^Reused, TLSv1.3/m)
  // What it gave out meanwhile is good still.
  expect((await connect(b, '-tls1_3', '-sess_in', own)).stdout).toMatch(/^Reused, TLSv1.3/m)
  for (const sealgate of [a, b]) await sealgate.finish()
})

test('an HSM that hangs over ticket keys loses its host once, not its handshakes again and again', async () => {
  const directory = folder('hung-hsm')
  const faults = new Faults(site.softHsm, 'hsm-hung')
  const hsms = { 'hsm-a': { ...site.member(), ...faults.options } }
  await using sealgate = await startSealgate({ config: sharing({ directory }, { hsms }) })
  expect(await sharedStatus(sealgate)).toMatchObject({ inUse: 'shared' })
  faults.set('C_DecryptInit hang')
  expect(await tickets('rotate', { directory }, '--replace')).toMatchObject({ status: 0 })
  await vi.waitFor(async () => {
    expect((await sharedStatus(sealgate))?.problem?.code).toBe('ERR_HSM_SIGN_TIMEOUT')
  }, WAIT)
  await vi.waitFor(async () => expect(await hsmStatus(sealgate)).toMatchObject({ state: 'up' }), WAIT)

  // It looks every second.
  for (let handshake = 0; handshake < 16; handshake++) {
    expect((await connect(sealgate, '-tls1_3')).stdout).toMatch(/^New, TLSv1.3/m)
    await delay(500)
  }

  expect(await hsmStatus(sealgate)).toMatchObject({ state: 'up', restarts: 1 })
  expect((await sharedStatus(sealgate))?.problem).toMatchObject({
    code: 'ERR_HSM_SIGN_TIMEOUT',
    message: expect.stringMatching(/did not unwrap within \d+ ms; nobody asks again for \d+ s/),
  })
  faults.clear()
  await sealgate.finish()
})

describe('check', () => {
  test('proves that the key wraps, and opens what lies there', async () => {
    const directory = folder('checked')
    const before = await check({ directory })
    expect(before.stdout).toMatch(/^ok +hsm-a +wraps ticket keys with pkcs11:object=tickets/m)
    expect(before.stdout).toMatch(/^ok +\S+ticket-keys +no shared ticket keys yet/m)
    await tickets('rotate', { directory })

    const { status, stdout } = await check({ directory })

    expect(status).toBe(0)
    expect(stdout).toMatch(/^ok +\S+ticket-keys +2 shared ticket keys, one in use since 20/m)
    expect(stdout).toMatch(/^ok +hsm-a +opens the shared ticket keys in/m)
  })

  test('is content with a key that `sealgate keys generate` has made', async () => {
    const file = join(site.directory, `generate-${++sessions}.yaml`)
    writeFileSync(file, JSON.stringify(sharing({ directory: folder('generated') })))
    const made = ['--hsm', 'hsm-a', '--type', 'aes-256', '--label', 'made']
    expect(await sealgateCommand(['keys', 'generate', '--config', file, ...made])).toMatchObject({
      status: 0,
    })

    const { status, stdout } = await check({ directory: folder('with-generated') }, 'made')

    expect(stdout).toMatch(/^ok +hsm-a +wraps ticket keys with pkcs11:object=made/m)
    expect(status).toBe(0)
  })

  test('refuses a key that can be extracted, and one that is not there', async () => {
    site.token.generateAesKey({ label: 'loose', id: 'a2', extractable: true })
    for (const [label, says] of [
      ['loose', /^error +hsm-a +hsm "hsm-a": \S+ can be read out of the token/m],
      ['nowhere', /^error +hsm-a +hsm "hsm-a": there is no AES key/m],
    ] as const) {
      const { status, stdout } = await check({ directory: folder(`check-${label}`) }, label)

      expect(stdout).toMatch(says)
      expect(status).toBe(69)
    }
  })

  test('is content with keys that have expired where the first proxy replaces them', async () => {
    const directory = folder('expired')
    await tickets('rotate', { directory })
    const file = join(directory, 'ticket-keys')
    const [first, dates = '', ...rest] = readFileSync(file, 'utf8').split('\n')
    writeFileSync(file, [first, dates.replaceAll(/"20\d\d-/g, '"2001-'), ...rest].join('\n'))

    const { status, stdout } = await check({ directory })

    expect(stdout).toMatch(
      /^ok +\S+ticket-keys +the shared ticket keys have expired, .*the first proxy replaces them/m,
    )
    expect(status).toBe(0)
    mkdirSync(join(directory, '..data'))
    expect((await check({ directory })).stdout).toMatch(
      /^error +\S+ticket-keys +the shared ticket keys have expired/m,
    )
  })

  test('says when what lies there does not open', async () => {
    const directory = folder('altered')
    await tickets('rotate', { directory })
    const file = join(directory, 'ticket-keys')
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"until":"20/, '"until":"21'))

    const { status, stdout } = await check({ directory })

    expect(stdout).toMatch(
      /^error +hsm-a +hsm "hsm-a": C_Decrypt returned CKR_GENERAL_ERROR: not wrapped by/m,
    )
    expect(status).toBe(69)
  })
})

test('a file that cannot be written is no bug', async () => {
  const { status, stderr } = await tickets(
    'rotate',
    { directory: folder('out') },
    '--out',
    '/nowhere/ticket-keys',
  )

  expect({ status, stderr }).toEqual({
    status: 69,
    stderr: expect.stringMatching(/\/nowhere\/ticket-keys cannot be written: ENOENT/),
  })
})

test('show says what is no file, and ends', async () => {
  const directory = folder('fifo')
  execFileSync('mkfifo', [join(directory, 'ticket-keys')])

  expect(await tickets('show', { directory })).toMatchObject({
    status: 69,
    stderr: expect.stringContaining('ticket-keys cannot be read: it is not a regular file'),
  })
})

test('show names keys, dates and the one in use, and needs no HSM', async () => {
  const directory = folder('shown')
  expect((await tickets('show', { directory })).stderr).toContain('there are no shared ticket keys')
  await tickets('rotate', { directory })

  const { status, stdout } = await tickets('show', { directory })

  expect(status).toBe(0)
  expect(stdout).toMatch(/^[0-9a-f]{32} {2}next {6}from 20\S+ {2}until 20/m)
  expect(stdout).toMatch(/^[0-9a-f]{32} {2}first {5}from 20/m)
  const json = JSON.parse((await tickets('show', { directory }, '--json')).stdout)
  expect(json.keys.map(({ state }: { state: string }) => state)).toEqual(['next', 'first'])
})

function check(place: object, label = 'tickets') {
  const file = join(site.directory, `check-${++sessions}.yaml`)
  writeFileSync(file, JSON.stringify(sharing(place)).replace(KEY_URI, KEY_URI.replace('tickets', label)))
  return sealgateCommand(['check', '--config', file])
}

/** As the kubelet does it: a new directory, and `..data` turned to it in one step. */
function mount(directory: string, text: string): void {
  const name = readdirSync(directory).includes('..1') ? '..2' : '..1'
  mkdirSync(join(directory, name))
  writeFileSync(join(directory, name, 'ticket-keys'), text)
  symlinkSync(name, join(directory, '..data_tmp'))
  renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
  if (name === '..1') symlinkSync('..data/ticket-keys', join(directory, 'ticket-keys'))
}

function sharing(place: object, overrides: object = {}, holders = ['hsm-a']): object {
  return site.config([upstream.port], {
    certificates: [certificate],
    tls: {
      ticket_rotation: '1m',
      tickets: { shared: { ...place, key: { uri: KEY_URI, hsms: holders } } },
    },
    ...overrides,
  })
}

function folder(name: string): string {
  const path = join(site.directory, name)
  mkdirSync(path)
  return path
}

function tickets(command: string, place: object, ...args: readonly string[]) {
  const file = join(site.directory, `command-${++sessions}.yaml`)
  writeFileSync(file, JSON.stringify(sharing(place)))
  return sealgateCommand(['tickets', command, '--config', file, ...args])
}

async function firstOf(file: string): Promise<{ created: string }> {
  return JSON.parse(readFileSync(file, 'utf8').split('\n')[1] ?? '')
}

async function sessionFrom(sealgate: Sealgate, option: string): Promise<string> {
  const session = join(site.directory, `${++sessions}.session`)
  const { stdout } = await connect(sealgate, option, '-sess_out', session)
  expect(stdout).toMatch(/^New, TLSv1/m)
  return session
}

function connect(sealgate: Sealgate, ...args: readonly string[]) {
  return sClient(sealgate.port(), ['-CAfile', site.ca, '-servername', 'localhost', ...args])
}

async function counts(sealgate: Sealgate, tlsVersion: string) {
  const metrics = await sealgate.metrics()
  const handshakes = (resumed: string) =>
    metrics.sum('sealgate_handshakes_total', { result: 'ok', tls_version: tlsVersion, resumed })
  const signatures = metrics.sum('sealgate_signatures_total')
  return { full: handshakes('false'), resumed: handshakes('true'), signatures }
}

interface Shared {
  readonly place: string
  readonly inUse: string
  readonly created?: string
  readonly keys?: readonly { name: string; state: string }[]
  readonly problem?: { code: string; message: string }
}

async function sharedStatus(sealgate: Sealgate): Promise<Shared | undefined> {
  const { text } = (await sealgate.admin('/status')) ?? { text: '{}' }
  return JSON.parse(text).tickets.shared
}

async function hsmStatus(sealgate: Sealgate): Promise<{ state: string; restarts: number } | undefined> {
  const { text } = (await sealgate.admin('/status')) ?? { text: '{}' }
  return JSON.parse(text).hsms[0]
}

// Each command and each proxy is a process that opens the token.
vi.setConfig({ testTimeout: 60_000 })

async function firstKeyOf(sealgate: Sealgate): Promise<string | undefined> {
  return (await sharedStatus(sealgate))?.keys?.find(({ state }) => state === 'first')?.name
}

const KEY_URI = 'pkcs11:object=tickets;type=secret-key'
// A look at least every second with this rotation.
const WAIT = { timeout: 20_000, interval: 50 }

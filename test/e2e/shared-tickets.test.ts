/**
 * Two proxies that share ticket keys, wrapped by an AES key in the HSM: a session made at one resumes at the other, with no
 * signature. Both rotate the keys when it is time; one whose HSM is away at its start has its own until the HSM is back.
 */

import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
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
    a = await startSealgate({ config: sharing({ directory }) })
    b = await startSealgate({ config: sharing({ directory }) })
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
    const before = (await sharedStatus(a))?.keys?.find(({ state }) => state === 'first')?.name
    // The next key is known to everybody after a quarter of the interval; made ready here by replacing the set's date.
    const { status, stdout } = await tickets('rotate', { directory }, '--now')
    expect(stdout).toContain('rotated')
    expect(status).toBe(0)

    const made = await firstOf(join(directory, 'ticket-keys'))
    for (const sealgate of [a, b])
      await vi.waitFor(async () => expect((await sharedStatus(sealgate))?.created).toBe(made.created), WAIT)
    expect(before).toBeDefined()

    for (const sealgate of [a, b]) {
      const { stdout } = await connect(sealgate, '-tls1_3', '-sess_in', session)
      expect(stdout).toMatch(/^Reused, TLSv1.3/m)
    }
    const next = await sessionFrom(b, '-tls1_3')
    expect((await connect(a, '-tls1_3', '-sess_in', next)).stdout).toMatch(/^Reused, TLSv1.3/m)
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

function sharing(place: object, overrides: object = {}): object {
  return site.config([upstream.port], {
    certificates: [certificate],
    tls: {
      ticket_rotation: '1m',
      tickets: { shared: { ...place, key: { uri: KEY_URI, hsms: ['hsm-a'] } } },
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
  readonly problem?: { code: string }
}

async function sharedStatus(sealgate: Sealgate): Promise<Shared | undefined> {
  const { text } = (await sealgate.admin('/status')) ?? { text: '{}' }
  return JSON.parse(text).tickets.shared
}

const KEY_URI = 'pkcs11:object=tickets;type=secret-key'
// A look at least every second with this rotation.
const WAIT = { timeout: 8000, interval: 50 }

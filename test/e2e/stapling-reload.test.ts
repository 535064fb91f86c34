/** Certificates that come and go while the proxy serves: each has its own response, and those that stay keep theirs. */

import { copyFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { type Issued, OcspCa } from '../support/ocsp-ca.ts'
import { OcspServer } from '../support/ocsp-server.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

let site: Site
let ca: OcspCa
let upstream: TestUpstream
let server: OcspServer
let sealgate: Sealgate
let spki: Buffer
let stays: Issued
let renewed: Issued

beforeAll(async () => {
  site = new Site()
  ca = new OcspCa(site.directory)
  server = await OcspServer.start()
  upstream = await startUpstream((_request, response) => response.end('served'))
  spki = site.token.generateKey({ label: 'web', id: 'c1', type: 'EC:prime256v1' })
  stays = issue('stays.test')
  renewed = issue('localhost')
  answerFor(stays, renewed)
  sealgate = await startSealgate({ config: config([renewed, stays]) })
  await vi.waitFor(async () => expect(await stapled('localhost')).toBe('good'), PATIENCE)
  await vi.waitFor(async () => expect(await stapled('stays.test')).toBe('good'), PATIENCE)
})

afterAll(async () => {
  await sealgate?.finish()
  await server?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('a renewed must-staple certificate is shown with its response from the first client on', async () => {
  const next = ca.issue({ spki, names: ['localhost'], responder: server.url, mustStaple: true })
  answerFor(stays, next)
  const asked = server.asked.length
  copyFileSync(next.chain, renewed.chain)

  expect(await sealgate.reload()).toMatchObject({ msg: 'reloaded', changed: ['certificates'] })

  expect(await shownSerial('localhost')).toBe(next.serial)
  expect(await stapled('localhost')).toBe('good')
  expect(await stapled('stays.test')).toBe('good')
  expect(server.asked.length).toBe(asked + 1) // nobody has asked for the one that stays again
})

test('ocsp: off ends stapling of that certificate with the reload, and of no other', async () => {
  const off = [{ ...entry(renewed), ocsp: 'off' }, entry(stays)]

  expect(await sealgate.reload(config([], off))).toMatchObject({ msg: 'reloaded' })

  expect(await stapled('localhost')).toBe('none')
  expect(await stapled('stays.test')).toBe('good')
})

test('a change that is refused leaves stapling as it was', async () => {
  const wrong = { ...entry(renewed), ocsp: { issuer: '/does/not/exist.pem' } }

  expect(await sealgate.reload(config([], [wrong, entry(stays)]))).toMatchObject({ level: 'error' })

  expect(await stapled('stays.test')).toBe('good')
  expect(await stapled('localhost')).toBe('none')
})

test('another cache directory needs a restart, and the reload says so', async () => {
  const elsewhere = { ...config([renewed, stays]), ocsp: { cache: '/var/cache/elsewhere' } }

  const line = await sealgate.reload(elsewhere)

  expect(JSON.stringify(line)).toMatch(/ocsp\.cache.*restart/)
})

function issue(name: string): Issued {
  return ca.issue({ spki, names: [name], responder: server.url })
}

function entry({ chain }: Issued): object {
  return { chain, key: { uri: 'pkcs11:object=web;type=private', hsms: ['hsm-a'] } }
}

let base: object | undefined

function config(issued: readonly Issued[], certificates: readonly object[] = issued.map(entry)): object {
  base ??= site.config([upstream.port])
  return { ...base, certificates }
}

function answerFor(...known: readonly Issued[]): void {
  server.behave((request, response) => {
    const asked = Buffer.from(decodeURIComponent((request.url ?? '').slice(1)), 'base64').toString('hex')
    const leaf = known.find(({ serial }) => asked.includes(serial.toLowerCase()))
    if (leaf === undefined) response.writeHead(404).end()
    else response.writeHead(200, { 'content-type': 'application/ocsp-response' }).end(ca.answer(leaf))
  })
}

async function stapled(name: string): Promise<string> {
  const { stdout } = await sClient(
    sealgate.port(),
    ['-CAfile', ca.certificate, '-servername', name, '-status'],
    '',
  )
  if (stdout.includes('OCSP response: no response sent')) return 'none'
  return /Cert Status: (\w+)/.exec(stdout)?.[1] ?? `failed: ${stdout}`
}

async function shownSerial(name: string): Promise<string | undefined> {
  const { stdout } = await sClient(
    sealgate.port(),
    ['-CAfile', ca.certificate, '-servername', name, '-status'],
    '',
  )
  return /Serial Number: ([0-9A-F]+)/.exec(stdout)?.[1]
}

const PATIENCE = { timeout: 15_000, interval: 50 }

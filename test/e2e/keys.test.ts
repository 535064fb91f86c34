/**
 * The whole life of a key through the built program: generated, requested, certified by somebody else's CA, served, rotated
 * while clients make handshakes, destroyed; each step a record that `audit verify` and openssl can check.
 */

import { createPublicKey } from 'node:crypto'
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { failures, HandshakeLoad } from '../support/handshake-load.ts'
import { KeyOwner } from '../support/key-owner.ts'
import { nodeUnderTest } from '../support/npm-start.ts'
import { program, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { curl, runTool } from '../support/tools.ts'

let load: HandshakeLoad
let upstream: TestUpstream
let owner: KeyOwner

beforeAll(async () => {
  load = await HandshakeLoad.compile()
  upstream = await startUpstream((_request, response) => response.end('served'))
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  load?.[Symbol.dispose]()
})

beforeEach(async () => {
  owner = await KeyOwner.create(upstream.port)
})

afterEach(() => owner?.[Symbol.dispose]())

test('a key is generated, certified, served, rotated under load without a failed handshake, and destroyed', async () => {
  await owner.birth()
  await using sealgate = await startSealgate({
    config: readFileSync(owner.config, 'utf8'),
    directory: owner.directory,
  })
  expect(await get(sealgate.port())).toEqual('served')
  const oldSerial = await servedSerial(sealgate.port())
  const running = load.steady(sealgate.port(), { rate: 40 })

  const begun = await owner.keys('rotate', '--overlap', '1s')
  expect(begun.stdout).toContain('Waits for the certificate: have')
  await owner.certify(owner.requestFile(), 'second.pem')
  const second = join(owner.directory, 'second.pem')
  const switched = await owner.keys('rotate', '--chain', second, '--pid', String(sealgate.pid))
  expect(switched.stdout).toMatch(
    /certified: .*\nproved: hsm "hsm-a".*\nproved: hsm "hsm-b".*\nswitched: .*\ntold process \d+.*\nin force: /,
  )
  expect(await servedSerial(sealgate.port())).not.toBe(oldSerial)
  const retired = await owner.untilRetired()

  const result = await running.stop()
  expect(retired).toMatch(/retired: the old key "www".*was destroyed\nThe rotation has ended/)
  expect({ error: result.firstError, failed: failures(result) }).toEqual({ error: '', failed: 0 })
  expect(result.handshakes).toBeGreaterThan(0)
  expect(await get(sealgate.port())).toEqual('served')
  const { hsms } = await owner.keysJson('list')
  expect(hsms[0].keys.map(({ label }: { label: string }) => label)).toEqual([
    expect.stringMatching(/^www-\d{8}$/),
  ])
  expect(hsms[0].keys[0].usedBy).toEqual([expect.stringMatching(/^certificates\[0\] /)])
  expect(readFileSync(owner.config, 'utf8')).toContain('# the site')
  expect(readdirSync(owner.directory).filter((name) => name.includes('.rotation.'))).toEqual([])
  await sealgate.finish()
}, 180_000)

test('every step is a record, in a chain that verify and the checkpoint key vouch for', async () => {
  const spki = owner.token.generateKey({ label: 'audit', id: 'a0', type: 'EC:prime256v1' })
  const publicKey = join(owner.directory, 'audit.pub.pem')
  writeFileSync(
    publicKey,
    createPublicKey({ key: spki, format: 'der', type: 'spki' }).export({ type: 'spki', format: 'pem' }),
  )
  owner.writeConfig(`audit:
  file: audit.jsonl
  checkpoint: { key: { uri: "pkcs11:object=audit;type=private", hsms: [hsm-a] }, public_key: audit.pub.pem }
`)
  await owner.birth()
  await owner.refused(['generate', '--label', 'www'], 64)

  const journal = join(owner.directory, 'keys-audit.jsonl')
  const records = readFileSync(journal, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const told = records.filter(({ type }) => type === 'key').map(({ action, result }) => `${action} ${result}`)
  expect(told).toEqual(['generate ok', 'csr ok', 'import-cert ok', 'generate ERR_KEYS_EXISTS'])
  expect(records.filter(({ type }) => type === 'start').map(({ command }) => command.name)).toEqual([
    'keys generate',
    'keys csr',
    'keys import-cert',
    'keys generate',
  ])
  expect(readFileSync(journal, 'utf8')).not.toContain(owner.token.pin)
  const verified = await sealgateCommand(['audit', 'verify', '--public-key', publicKey, journal])
  expect(verified).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/checkpoints: 4, signatures verified, up to record/),
  })
  writeFileSync(journal, readFileSync(journal, 'utf8').replace('"import-cert"', '"import-carp"'))
  expect(await sealgateCommand(['audit', 'verify', '--public-key', publicKey, journal])).toMatchObject({
    status: 65,
  })
}, 180_000)

test('a self-signed certificate is one that openssl verifies, for the names and days that were asked', async () => {
  await owner.keys('generate', '--label', 'lab', '--type', 'ed25519')
  const out = join(owner.directory, 'lab.pem')

  await owner.keys(
    'self-sign',
    '--label',
    'lab',
    '--san',
    'dns:lab.internal',
    '--san',
    'ip:192.0.2.7',
    '--days',
    '30',
    '--out',
    out,
  )

  const verified = await runTool('openssl', ['verify', '-x509_strict', '-CAfile', out, out])
  expect(verified).toMatchObject({ status: 0, stdout: expect.stringContaining('OK') })
  const { stdout } = await runTool('openssl', [
    'x509',
    '-in',
    out,
    '-noout',
    '-ext',
    'subjectAltName',
    '-checkend',
    String(29 * 86_400),
  ])
  expect(stdout).toMatch(/DNS:lab\.internal, IP Address:192\.0\.2\.7/)
  expect(stdout).toContain('Certificate will not expire')
})

async function get(port: number): Promise<string> {
  const { stdout, stderr } = await curl(
    '--cacert',
    join(owner.directory, 'ca.pem'),
    `https://localhost:${port}/`,
  )
  expect(stderr).toBe('')
  return stdout
}

async function servedSerial(port: number): Promise<string> {
  const { stdout } = await runTool('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${port}`,
    '-servername',
    'localhost',
  ])
  return (await runTool('openssl', ['x509', '-noout', '-serial'], { input: stdout })).stdout
}

test('the command that is proposed next works as it is, whatever the label', async () => {
  const { stdout } = await owner.keys('generate', '--label', `it's "the" $(web) key`)

  const next = /^Next: sealgate (.*)$/m.exec(stdout)?.[1]?.replace('NAME', 'www.example.com')
  const command = [nodeUnderTest, program, next].join(' ')
  expect(await runTool('sh', ['-c', command])).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('BEGIN CERTIFICATE REQUEST'),
  })
})

test('the command that is proposed next names the HSM as it was named, without a configuration', async () => {
  const { module, conf } = owner.softHsm
  const pinFile = join(owner.directory, 'a pin.txt')
  copyFileSync(owner.token.pinFile, pinFile)
  const hsm = ['--module', module, '--token', owner.token.label, '--pin-file', pinFile]
  const generate = ['keys', 'generate', ...hsm, '--env', `SOFTHSM2_CONF=${conf}`, '--label', 'bare']
  const { stdout } = await sealgateCommand(generate)

  const next = /^Next: sealgate (.*)$/m.exec(stdout)?.[1]?.replace('NAME', 'www.example.com')
  expect(await runTool('sh', ['-c', [nodeUnderTest, program, next].join(' ')])).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('BEGIN CERTIFICATE REQUEST'),
  })
})

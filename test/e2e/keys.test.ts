/**
 * The whole life of a key through the built program: generated, requested, certified by somebody else's CA, served, rotated
 * while clients make handshakes, destroyed; each step a record that `audit verify` and openssl can check.
 */

import { createPublicKey } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { failures, HandshakeLoad } from '../support/handshake-load.ts'
import { sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { SoftHsm, type SoftToken } from '../support/softhsm.ts'
import { curl, type Outcome, runTool } from '../support/tools.ts'

let load: HandshakeLoad
let upstream: TestUpstream
let softHsm: SoftHsm
let token: SoftToken
let directory: string
let config: string
let adminPort: number

beforeAll(async () => {
  load = await HandshakeLoad.compile()
  upstream = await startUpstream((_request, response) => response.end('served'))
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  load?.[Symbol.dispose]()
})

beforeEach(async () => {
  softHsm = new SoftHsm()
  directory = join(softHsm.directory, 'etc')
  mkdirSync(directory)
  token = softHsm.addToken('web')
  adminPort = await freePort()
  config = join(directory, 'sealgate.yaml')
  writeConfig()
  await issueCa()
})

afterEach(() => softHsm?.[Symbol.dispose]())

test('a key is generated, certified, served, rotated under load without a failed handshake, and destroyed', async () => {
  await birth()
  await using sealgate = await startSealgate({ config: readFileSync(config, 'utf8'), directory })
  expect(await get(sealgate.port())).toEqual('served')
  const oldSerial = await servedSerial(sealgate.port())
  const running = load.steady(sealgate.port(), { rate: 40 })

  const begun = await keys('rotate', '--overlap', '1s')
  expect(begun.stdout).toContain('Waits for the certificate: have')
  await certify(requestFile(), 'second.pem')
  const second = join(directory, 'second.pem')
  const switched = await keys('rotate', '--chain', second, '--pid', String(sealgate.pid))
  expect(switched.stdout).toMatch(
    /certified: .*\nproved: hsm "hsm-a".*\nproved: hsm "hsm-b".*\nswitched: .*\ntold process \d+.*\nin force: /,
  )
  expect(await servedSerial(sealgate.port())).not.toBe(oldSerial)
  const retired = await untilRetired()

  const result = await running.stop()
  expect(retired).toMatch(/retired: the old key "www".*was destroyed\nThe rotation has ended/)
  expect({ error: result.firstError, failed: failures(result) }).toEqual({ error: '', failed: 0 })
  expect(result.handshakes).toBeGreaterThan(0)
  expect(await get(sealgate.port())).toEqual('served')
  const { hsms } = await keysJson('list')
  expect(hsms[0].keys.map(({ label }: { label: string }) => label)).toEqual([
    expect.stringMatching(/^www-\d{8}$/),
  ])
  expect(hsms[0].keys[0].usedBy).toEqual([expect.stringMatching(/^certificates\[0\] /)])
  expect(readFileSync(config, 'utf8')).toContain('# the site')
  expect(readdirSync(directory).filter((name) => name.includes('.rotation.'))).toEqual([])
  await sealgate.finish()
}, 120_000)

test('every step is a record, in a chain that verify and the checkpoint key vouch for', async () => {
  const spki = token.generateKey({ label: 'audit', id: 'a0', type: 'EC:prime256v1' })
  const publicKey = join(directory, 'audit.pub.pem')
  writeFileSync(
    publicKey,
    createPublicKey({ key: spki, format: 'der', type: 'spki' }).export({ type: 'spki', format: 'pem' }),
  )
  writeConfig(`audit:
  file: audit.jsonl
  checkpoint: { key: { uri: "pkcs11:object=audit;type=private", hsms: [hsm-a] }, public_key: audit.pub.pem }
`)
  await birth()
  await refused(['generate', '--label', 'www'], 64)

  const journal = join(directory, 'keys-audit.jsonl')
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
  expect(readFileSync(journal, 'utf8')).not.toContain(token.pin)
  const verified = await sealgateCommand(['audit', 'verify', '--public-key', publicKey, journal])
  expect(verified).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/checkpoints: 4, signatures verified, up to record/),
  })
  writeFileSync(journal, readFileSync(journal, 'utf8').replace('"import-cert"', '"import-carp"'))
  expect(await sealgateCommand(['audit', 'verify', '--public-key', publicKey, journal])).toMatchObject({
    status: 65,
  })
}, 60_000)

test('a rotation that was interrupted goes on where it was, with the key that it had made', async () => {
  await birth()
  await keys('rotate')
  const state = join(directory, 'sealgate.yaml.rotation.www.pem.json')
  const made = JSON.parse(readFileSync(state, 'utf8'))
  // As after a kill between the work and the note of it.
  writeFileSync(
    state,
    JSON.stringify({ ...made, step: 'planned', new: { ...made.new, key: { ...made.new.key, spki: null } } }),
  )

  const again = await keysJson('rotate')

  expect(again.rotation.new.key).toEqual(made.new.key)
  const { hsms } = await keysJson('list')
  expect(hsms[0].keys).toHaveLength(2)
  expect((await keys('rotate', '--status')).stdout).toMatch(/www\.pem: requested/)
  const inUse = await refused(['destroy', '--label', made.new.key.label, '--confirm', made.new.key.label], 78)
  expect(inUse).toMatch(/a rotation needs the key/)
}, 60_000)

test('with --print nothing is changed, and the change that somebody has made is taken up', async () => {
  await birth()
  await keys('rotate', '--overlap', '1s')
  await certify(requestFile(), 'second.pem')
  const before = readFileSync(config, 'utf8')

  const printed = await keys('rotate', '--chain', join(directory, 'second.pem'), '--print')

  expect(readFileSync(config, 'utf8')).toBe(before)
  const changes = [...printed.stdout.matchAll(/ {2}- (.*)\n {2}\+ (.*)\n/g)]
  expect(changes).toHaveLength(2)
  const byHand = changes.reduce((text, [, from = '', to = '']) => text.replace(from, to), before)
  writeFileSync(config, byHand)
  expect((await keys('rotate', '--in-force')).stdout).toMatch(
    /in force: .*\nWaits for the end of the overlap/,
  )
  expect(await untilRetired('--in-force')).toContain('The rotation has ended')
}, 60_000)

test('a rotation that is given up leaves the old key and the configuration', async () => {
  await birth()
  const before = readFileSync(config, 'utf8')
  const begun = await keysJson('rotate')

  await refused(['rotate', '--abort', '--confirm', 'www'], 64)
  const abandoned = await keys('rotate', '--abort', '--confirm', begun.rotation.new.key.label)

  expect(abandoned.stdout).toContain('was destroyed')
  const { hsms } = await keysJson('list')
  expect(hsms[0].keys.map(({ label }: { label: string }) => label)).toEqual(['www'])
  expect(readFileSync(config, 'utf8')).toBe(before)
}, 60_000)

test('a certificate that does not fit is refused, and the place of the old one stays as it is', async () => {
  await birth()
  const before = readFileSync(join(directory, 'www.pem'), 'utf8')
  await keys('generate', '--hsm', 'hsm-a', '--label', 'other')
  await keys(
    'csr',
    '--label',
    'other',
    '--san',
    'dns:localhost',
    '--san',
    'dns:www.example.com',
    '--out',
    join(directory, 'other.csr'),
  )
  await certify(join(directory, 'other.csr'), 'other.pem')
  await certify(join(directory, 'www.csr'), 'expired.pem', [
    '-not_before',
    '20200101000000Z',
    '-not_after',
    '20200201000000Z',
  ])
  await keys('csr', '--label', 'www', '--san', 'dns:localhost', '--out', join(directory, 'fewer.csr'))
  await certify(join(directory, 'fewer.csr'), 'fewer.pem')
  writeFileSync(join(directory, 'garbage.pem'), 'no certificate')
  writeFileSync(join(directory, 'huge.pem'), Buffer.alloc(10_000_000, 'x'))
  const ca = readFileSync(join(directory, 'ca.pem'), 'utf8')
  writeFileSync(join(directory, 'order.pem'), ca + before)

  for (const [file, status, reason] of [
    ['other.pem', 78, /is for another key than "www"/],
    ['expired.pem', 78, /expired on 2020-02-01/],
    ['fewer.pem', 78, /has not the name www\.example\.com .* --fewer-names/],
    ['garbage.pem', 78, /holds no certificate/],
    ['huge.pem', 78, /is too large/],
    ['order.pem', 78, /put the leaf first/],
    ['nowhere.pem', 78, /there is no such file/],
    ['ca.key', 78, /holds a private key/],
  ] as const) {
    expect(await refused(['import-cert', '--chain', join(directory, file)], status)).toMatch(reason)
  }
  expect(readFileSync(join(directory, 'www.pem'), 'utf8')).toBe(before)
  expect(readdirSync(directory).filter((name) => name.endsWith('.bak'))).toEqual([])
  await keys('import-cert', '--chain', join(directory, 'fewer.pem'), '--fewer-names')
  expect(readdirSync(directory).filter((name) => /^www\.pem\..*\.bak$/.test(name))).toHaveLength(1)
}, 90_000)

test('a self-signed certificate is one that openssl verifies, for the names and days that were asked', async () => {
  await keys('generate', '--label', 'lab', '--type', 'ed25519')
  const out = join(directory, 'lab.pem')

  await keys(
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

test('what is wrong is said with the cure, without a stack trace, and nothing happens', async () => {
  await birth()
  const bare = ['--module', softHsm.module, '--env', `SOFTHSM2_CONF=${softHsm.conf}`]
  const wrongPin = join(directory, 'wrong.pin')
  writeFileSync(wrongPin, 'wrong\n')

  for (const [args, status, reason] of [
    [['list', '--config', config, '--hsm', 'hsm-c'], 64, /there is no hsm "hsm-c" .*did you mean "hsm-a"/],
    [['list', '--config', join(directory, 'nowhere.yaml')], 78, /there is no such file/],
    [['list'], 64, /--config FILE, or --module FILE/],
    [['list', ...bare, '--token', 'web'], 64, /--pin-file FILE is missing/],
    [
      ['list', ...bare, '--token', 'wbe', '--pin-file', token.pinFile],
      69,
      /no token with label "wbe".*shows "web"/,
    ],
    [['list', ...bare, '--token', 'web', '--pin-file', wrongPin], 69, /refused the PIN .*tried once/],
    [['list', '--config', config, '--jsn'], 64, /unknown option '--jsn'\n\(Did you mean --json/],
    [['generate', '--config', config], 64, /--label LABEL is missing/],
    [['generate', '--config', config, '--label', 'www'], 64, /has a key "www", id .* already/],
    [['generate', '--config', config, '--label', 'x', '--type', 'rsa-2084'], 64, /did you mean "rsa-2048"/],
    [['csr', '--config', config, '--label', 'ww', '--san', 'a.example'], 69, /no key "ww" .*it holds: "www"/],
    [['csr', '--config', config, '--label', 'www'], 64, /--san is missing/],
    [['csr', '--config', config, '--label', 'www', '--san', 'dns:a b'], 64, /is no DNS name/],
    [
      ['csr', '--config', config, '--label', 'www', '--san', 'a.example', '--out', '/nowhere/x.csr'],
      69,
      /its folder is not there/,
    ],
    [
      ['self-sign', '--config', config, '--label', 'www', '--san', 'a.example', '--days', 'ten'],
      64,
      /whole number of days/,
    ],
    [
      ['destroy', '--config', config, '--label', 'www', '--confirm', 'www'],
      78,
      /uses the key "www".*certificates\[0\]/,
    ],
    [
      ['rotate', '--config', config, '--certificate', 'ww.example.com'],
      64,
      /did you mean "www\.example\.com"/,
    ],
    [['rotate', '--config', config, '--overlap', '7'], 64, /give a duration with its unit/],
    [['lst'], 64, /unknown command 'lst'/],
  ] as const) {
    const outcome = await sealgateCommand(['keys', ...args])
    expect({ args, status: outcome.status, stderr: outcome.stderr }).toEqual({
      args,
      status,
      stderr: expect.stringMatching(reason),
    })
    expect(outcome.stderr).not.toMatch(/\n {4}at /)
  }
  const { hsms } = await keysJson('list')
  expect(hsms[0].keys).toHaveLength(1)
}, 90_000)

test('a wrong PIN is tried once, though two members lead to the token', async () => {
  writeFileSync(token.pinFile, 'wrong\n')

  const { status, stderr } = await sealgateCommand(['keys', 'list', '--config', config])

  expect(status).toBe(69)
  expect(stderr.match(/tried once/g)).toHaveLength(2)
  // Two members say so, from one attempt: the second has the words of the first.
  expect(stderr.match(/hsm "hsm-a"/g)).toHaveLength(2)
})

test.each(['list', 'generate', 'csr', 'self-sign', 'import-cert', 'rotate', 'destroy'])(
  'keys %s --help has examples',
  async (command) => {
    const { status, stdout } = await sealgateCommand(['keys', command, '--help'])

    expect(status).toBe(0)
    expect(stdout).toContain(`$ sealgate keys ${command} `)
  },
)

/** Two members on one token; the certificate is not there yet. */
function writeConfig(more = ''): void {
  const hsm = `{ module: ${softHsm.module}, token: web, pin: { file: ${token.pinFile} }, env: { SOFTHSM2_CONF: ${softHsm.conf} } }`
  writeFileSync(
    config,
    `hsms:
  hsm-a: ${hsm}
  hsm-b: ${hsm}
certificates:
  - chain: www.pem # the site
    key: { uri: "pkcs11:object=www;type=private", hsms: [hsm-a, hsm-b] }
listeners:
  - { address: "127.0.0.1:0", protocol: http, upstream: app }
upstreams: { app: { servers: ["http://127.0.0.1:${upstream.port}"] } }
admin: { address: "127.0.0.1:${adminPort}" }
${more}`,
  )
}

/** From nothing to a configuration that can run. */
async function birth(): Promise<void> {
  await keys('generate', '--label', 'www')
  const csr = join(directory, 'www.csr')
  await keys('csr', '--label', 'www', '--san', 'dns:localhost', '--san', 'dns:www.example.com', '--out', csr)
  await certify(csr, 'first.pem')
  await keys('import-cert', '--chain', join(directory, 'first.pem'))
}

async function keys(command: string, ...args: readonly string[]): Promise<Outcome> {
  const outcome = await sealgateCommand(['keys', command, '--config', config, ...args])
  expect({ command, status: outcome.status, stderr: outcome.stderr }).toEqual({
    command,
    status: 0,
    stderr: '',
  })
  return outcome
}

// biome-ignore lint/suspicious/noExplicitAny: JSON of several shapes, compared right away
async function keysJson(command: string, ...args: readonly string[]): Promise<any> {
  return JSON.parse((await keys(command, ...args, '--json')).stdout)
}

async function refused(args: readonly string[], expected: number): Promise<string> {
  const { status, stderr } = await sealgateCommand(['keys', ...args, '--config', config])
  expect({ args, status, stderr }).toMatchObject({ args, status: expected })
  return stderr
}

/** The overlap has to end by itself; until then the command says so. */
async function untilRetired(...args: readonly string[]): Promise<string> {
  for (let tries = 0; tries < 20; tries++) {
    const { stdout } = await keys('rotate', '--retire', '--confirm', 'www', ...args)
    if (!stdout.includes('Waits for the end of the overlap')) return stdout
  }
  throw new Error('the overlap did not end')
}

async function issueCa(): Promise<void> {
  const out = ['-keyout', join(directory, 'ca.key'), '-out', join(directory, 'ca.pem')]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await openssl('req', '-x509', ...key, '-subj', '/CN=test CA', '-days', '30', ...out)
}

/** As a CA does it, which knows nothing of HSMs. */
async function certify(
  csr: string,
  name: string,
  validity: readonly string[] = ['-days', '30'],
): Promise<void> {
  const ca = ['-CA', join(directory, 'ca.pem'), '-CAkey', join(directory, 'ca.key')]
  const out = join(directory, name)
  if (validity[0] === '-days')
    await openssl('x509', '-req', '-in', csr, ...ca, '-copy_extensions', 'copyall', ...validity, '-out', out)
  else await certifyBetween(csr, out, validity)
}

/** `openssl x509` has no start date before 3.4; `openssl ca` has. */
async function certifyBetween(
  csr: string,
  out: string,
  [, from = '', , to = '']: readonly string[],
): Promise<void> {
  const conf = join(directory, 'ca.cnf')
  writeFileSync(join(directory, 'index.txt'), '')
  writeFileSync(
    conf,
    `[ca]\ndefault_ca=own\n[own]\ndatabase=${join(directory, 'index.txt')}\nnew_certs_dir=${directory}\nrand_serial=yes\ndefault_md=sha256\npolicy=any\ncopy_extensions=copyall\n[any]\ncommonName=optional\n`,
  )
  const ca = ['-cert', join(directory, 'ca.pem'), '-keyfile', join(directory, 'ca.key')]
  await openssl(
    'ca',
    '-batch',
    '-notext',
    '-config',
    conf,
    ...ca,
    '-in',
    csr,
    '-startdate',
    from,
    '-enddate',
    to,
    '-out',
    out,
  )
}

async function openssl(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runTool('openssl', args)
  expect({ args, status, stderr }).toMatchObject({ args, status: 0 })
  return stdout
}

function requestFile(): string {
  const name = readdirSync(directory).find((name) => /^www\.\d{8}\.csr$/.test(name))
  expect(name).toBeDefined()
  return join(directory, name ?? '')
}

async function get(port: number): Promise<string> {
  const { stdout, stderr } = await curl('--cacert', join(directory, 'ca.pem'), `https://localhost:${port}/`)
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

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** `sealgate doctor` as an operator uses it: what is wrong is said with its cure, and a running proxy does not notice. */

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { Finding } from '../../src/doctor/finding.ts'
import { moduleFile } from '../support/module-file.ts'
import { NssDatabase } from '../support/nss.ts'
import { Faults } from '../support/p11-faults.ts'
import { RemoteToken } from '../support/p11-kit.ts'
import { sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site, type SiteCertificate } from '../support/site.ts'
import { type Outcome, runTool } from '../support/tools.ts'

const USAGE = 64
const UNAVAILABLE = 69
const CONFIGURATION = 78

let site: Site
let ec: SiteCertificate
let rsa: SiteCertificate
let configs = 0

beforeAll(() => {
  site = new Site()
  ec = site.certificate()
  rsa = site.certificate({ type: 'rsa:2048' })
})

afterAll(() => site?.[Symbol.dispose]())

test('a good configuration is ready: every HSM, key and certificate is named, and no finding is without its cure', async () => {
  const { status, stdout, stderr } = await doctor(['--config', file({ certificates: [ec, rsa] })])

  expect(stderr).toBe('')
  expect(stdout).toMatch(/^ready/m)
  expect(stdout).not.toContain(site.token.pin)
  expect(status).toBe(0)
  for (const says of [
    /ok +the module loads and starts: SoftHSM, Implementation of PKCS11/,
    /ok +token "web" \(serial [0-9a-f]+, slot \d+/,
    /ok +the token has accepted the PIN/,
    /ok +RSA: rsa_pss_rsae_sha256 .* rsa_pkcs1_sha512/,
    /key pkcs11:object=key-1;type=private \(id 01\) is the certificate's/,
    /key pkcs11:object=key-1;type=private is sensitive and not extractable, and always was/,
    /key pkcs11:object=key-2;type=private signs, verified by OpenSSL: rsa_pss_rsae_sha256 .* rsa_pkcs1_sha512/,
    /signature takes [\d.]+ ms \(p50\), [\d.]+ ms \(p99\) of \d+/,
    /ok +the clock says \d{4}-/,
    /open files are allowed/,
    /\d+ cores, for \d+ TLS and \d+ HTTP threads/,
    /OpenSSL \d/,
    /warning +SoftHSM: its keys are files/,
    new RegExp(`^${ec.chain}$`, 'm'),
    /ok +valid until \d{4}-\d\d-\d\d, \d+ days/,
    /ok +web: TLSv1\.2 TLSv1\.3; groups/,
  ])
    expect(stdout).toMatch(says)
})

test('--json has the same findings, its counts and the exit status', async () => {
  const { status, stdout } = await doctor(['--json', '--config', file({ certificates: [ec] })])
  const report: { status: number; counts: Record<string, number>; findings: Finding[] } = JSON.parse(stdout)

  expect(report.status).toBe(status)
  expect(report.findings.filter(({ level }) => level === 'ok')).toHaveLength(report.counts['ok'] ?? 0)
  expect(
    report.findings.filter(({ level, cure }) => (level === 'warning' || level === 'error') && !cure),
  ).toEqual([])
  expect(report.findings.map(({ id }) => id)).toEqual(
    expect.arrayContaining(['module.loads', 'login.accepted', 'signature.verified', 'certificate.valid']),
  )
})

describe('a wrong PIN', () => {
  test('is tried once by many runs over two members, and the token is not locked', async () => {
    using own = new Site()
    const certificate = own.certificate({ hsms: ['hsm-a', 'hsm-b'] })
    const pin = join(own.directory, 'wrong.pin')
    writeFileSync(pin, 'not-the-pin\n', { mode: 0o600 })
    const faults = new Faults(own.softHsm, 'pin')
    const member = { ...own.member(), ...faults.options, pin: { file: pin } }
    const config = file({ hsms: { 'hsm-a': member, 'hsm-b': member }, certificates: [certificate] }, own)

    const first = await doctor(['--config', config])
    const second = await doctor(['--config', config])

    expect(first.status).toBe(UNAVAILABLE)
    expect(first.stdout).toMatch(
      /error +the token refused the PIN from file .*wrong\.pin \(CKR_PIN_INCORRECT\)/,
    )
    expect(second.stdout).toMatch(
      /warning +a wrong PIN was tried since the last right one; the login was not tried/,
    )
    expect(faults.calls('C_Login')).toBe(1)
    expect(`${first.stdout}${first.stderr}${second.stdout}${second.stderr}`).not.toContain('not-the-pin')
    // The right one still opens it.
    own.token.tool(['--login', '--pin', own.token.pin, '--list-objects'])
    const third = await doctor([
      '--config',
      file(
        { hsms: { 'hsm-a': { ...own.member() }, 'hsm-b': own.member() }, certificates: [certificate] },
        own,
      ),
    ])
    expect(third.status).toBe(0)
  })
})

test('a running proxy with the same token does not notice', async () => {
  const config = site.config([1], { certificates: [ec] })
  await using proxy = await startSealgate({ config })
  const before = await proxy.status()

  const looked = await doctor(['--config', file({ certificates: [ec] })])

  expect(looked.stdout).toMatch(/^ready/m)
  const after = await proxy.status()
  expect(after.hsms.map(({ state, restarts, pid }) => ({ state, restarts, pid }))).toEqual(
    before.hsms.map(({ state, restarts, pid }) => ({ state, restarts, pid })),
  )
  const shown = await runTool(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${proxy.port()}`, '-CAfile', site.ca],
    {},
  )
  expect(shown.stdout).toContain('Verify return code: 0')
  await proxy.finish()
})

describe('what is wrong is named with its cure', () => {
  test('a certificate of another key', async () => {
    const other = { ...ec, key: { ...ec.key, uri: rsa.key.uri } }

    const { status, stdout } = await doctor(['--config', file({ certificates: [other] })])

    expect(status).toBe(UNAVAILABLE)
    expect(stdout).toMatch(/error +.*not the certificate's/)
    expect(stdout).toMatch(/→ name the key that the certificate was made for/)
  })

  test('a key that is not there', async () => {
    const missing = { ...ec, key: { ...ec.key, uri: 'pkcs11:object=nobody;type=private' } }

    const { status, stdout } = await doctor(['--config', file({ certificates: [missing] })])

    expect(status).toBe(UNAVAILABLE)
    expect(stdout).toMatch(/error +no private key matches pkcs11:object=nobody;type=private/)
  })

  test('a certificate that has expired is the configuration’s', async () => {
    const expired = site.certificate({ days: -1 })

    const { status, stdout } = await doctor(['--config', file({ certificates: [expired] })])

    expect(status).toBe(CONFIGURATION)
    expect(stdout).toMatch(/error +the certificate expired on .*: clients refuse it\n +→ renew it/)
  })

  test('a key that may leave the HSM', async () => {
    const spki = site.token.generateKey({ label: 'leaky', id: '7e', type: 'EC:prime256v1' })
    const certificate = site.certificateFor({ label: 'leaky', spki })
    const extractable = await generateExtractable()

    const { stdout, status } = await doctor(['--config', file({ certificates: [certificate, extractable] })])

    expect(status).toBe(UNAVAILABLE)
    expect(stdout).toMatch(/error +key pkcs11:object=open;type=private may be taken out of the HSM/)
  })

  test('a configuration that does not load: every mistake, and the machine all the same', async () => {
    const { status, stdout } = await doctor(['--config', file({ hsmz: {}, certificates: [ec] })])

    expect(status).toBe(CONFIGURATION)
    expect(stdout).toMatch(/error +hsmz: unknown key; did you mean "hsms"\?/)
    expect(stdout).toMatch(/the clock says/)
  })
})

describe('a bare module', () => {
  test('SoftHSM without a word about its configuration file', async () => {
    const { status, stdout } = await doctor([
      '--module',
      site.softHsm.module,
      '--env',
      'SOFTHSM2_CONF=/nowhere/softhsm2.conf',
    ])

    expect(status).toBe(UNAVAILABLE)
    expect(stdout).toMatch(/→ set SOFTHSM2_CONF in env to its configuration file/)
  })

  test('the PIN may come from the environment, and is not shown', async () => {
    const args = [
      '--module',
      site.softHsm.module,
      '--env',
      `SOFTHSM2_CONF=${site.softHsm.conf}`,
      '--pin-env',
      'DOCTOR_PIN',
    ]
    const { stdout } = await doctor(args, { ...process.env, DOCTOR_PIN: site.token.pin })

    expect(stdout).toMatch(/ok +the token has accepted the PIN/)
    expect(stdout).not.toContain(site.token.pin)
  })

  test('NSS without its database, and with it', async () => {
    using nss = new NssDatabase()
    const without = await doctor(['--module', nss.module])
    const with_ = await doctor([
      '--module',
      nss.module,
      '--initialize',
      nss.initialize,
      '--token',
      nss.label,
      '--pin-file',
      nss.pinFile,
    ])

    expect(without.status).toBe(UNAVAILABLE)
    expect(without.stdout).toMatch(/→ tell it in initialize where its database is: configdir=/)
    expect(with_.stdout).toMatch(/ok +the token has accepted the PIN/)
    expect(with_.stdout).toMatch(/note +NSS softokn: all its tokens have the serial number 0000000000000000/)
    expect(with_.status).toBe(0)
  })

  test('p11-kit’s client, and the server that is not there any more', async () => {
    using own = new Site()
    own.certificate()
    const remote = new RemoteToken(own.softHsm, own.token)
    await using _ = remote
    await remote.start()
    const { module, env, pin } = remote.hsmOptions()
    const args = [
      '--module',
      module,
      ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
      '--pin-file',
      'file' in pin ? pin.file : '',
    ]

    const there = await doctor(args)
    remote.pause()
    const silent = await doctor([...args, '--timeout', '2'])
    remote.resume()
    await remote.kill()
    const gone = await doctor(args)

    expect(there.stdout).toMatch(/signs, verified by OpenSSL/)
    expect(there.stdout).toMatch(/note +p11-kit client: one call at a time/)
    expect(there.status).toBe(0)
    expect(silent.stdout).toMatch(/error +the module hung in C_/)
    expect(silent.status).toBe(UNAVAILABLE)
    expect(gone.stdout).toMatch(/→ set P11_KIT_SERVER_ADDRESS in env/)
    expect(gone.status).toBe(UNAVAILABLE)
  })

  test('a library that lacks another one: which', async () => {
    const directory = join(site.directory, 'broken')
    mkdirSync(directory)
    const source = join(directory, 'module.c')
    writeFileSync(join(directory, 'needed.c'), 'int needed(void) { return 0; }\n')
    writeFileSync(source, 'int needed(void); int C_GetFunctionList(void) { return needed(); }\n')
    await compile(['-o', join(directory, 'libvendor-transport.so.7'), join(directory, 'needed.c')])
    await compile([
      '-o',
      join(directory, 'module.so'),
      source,
      '-L',
      directory,
      '-l:libvendor-transport.so.7',
    ])

    const { status, stdout } = await doctor(['--module', join(directory, 'module.so')])

    expect(status).toBe(UNAVAILABLE)
    expect(stdout).toMatch(
      /error +the module does not load: the library libvendor-transport\.so\.7, which it needs, is not found/,
    )
    expect(stdout).toMatch(/→ install the package that has libvendor-transport\.so\.7/)
  })

  test('a library for another machine: which', async () => {
    const foreign = join(site.directory, 'foreign.so')
    copyFileSync(site.softHsm.module, foreign)
    const bytes = readFileSync(foreign)
    bytes.writeUInt16LE(process.arch === 'arm64' ? 0x3e : 0xb7, 18)
    writeFileSync(foreign, bytes)

    const { status, stdout } = await doctor(['--module', foreign])

    expect(status).toBe(UNAVAILABLE)
    expect(stdout).toMatch(
      /error +the module does not load: .*foreign\.so is a library for (?:arm64|x64), and this is linux-/,
    )
  })

  test('a library that is no PKCS#11 module, and a file that is none at all', async () => {
    const library = await doctor(['--module', moduleFile(['libc.so.6'], 'a C library')])
    const text = await doctor(['--module', site.ca])

    expect(library.stdout).toMatch(/it is a library, but no PKCS#11 module/)
    expect(text.stdout).toMatch(/is a PEM file/)
    expect([library.status, text.status]).toEqual([UNAVAILABLE, UNAVAILABLE])
  })
})

test.each([
  { args: [], says: /give either --config FILE or --module FILE/ },
  { args: ['--config', 'a', '--module', 'b'], says: /give either --config FILE or --module FILE/ },
  { args: ['--module', '/nowhere/p11.so'], says: /--module: \/nowhere\/p11\.so: there is no such file/ },
  {
    args: ['--module', '/bin/sh', '--token', 'a', '--slot', '1'],
    says: /one of --token, --serial and --slot/,
  },
  { args: ['--module', '/bin/sh', '--env', 'nothing'], says: /--env: give NAME=VALUE/ },
  { args: ['--module', '/bin/sh', '--sessions', 'many'], says: /--sessions many: give a whole number/ },
  { args: ['--module', '/bin/sh', '--timeout', '0'], says: /--timeout 0: give a whole number above 0/ },
  {
    args: ['--module', '/bin/sh', '--pin-file', '/nowhere/pin'],
    says: /--pin-file: \/nowhere\/pin: there is no such file/,
  },
  { args: ['--modul', '/bin/sh'], says: /Did you mean --module\?/ },
])('`sealgate doctor $args` is a usage error', async ({ args, says }) => {
  const { status, stdout, stderr } = await doctor(args)

  expect(stderr).toMatch(says)
  expect(stdout).toBe('')
  expect(status).toBe(USAGE)
})

/** In UTF-8, unlike other tools' output. */
async function doctor(args: readonly string[], env = process.env): Promise<Outcome> {
  const { status, stdout, stderr } = await sealgateCommand(['doctor', ...args], env)
  const decode = (text: string): string => Buffer.from(text, 'latin1').toString('utf8')
  return { status, stdout: decode(stdout), stderr: decode(stderr) }
}

function file(overrides: object, at = site): string {
  configs += 1
  const path = join(at.directory, `doctor-${configs}.yaml`)
  writeFileSync(path, JSON.stringify(at.config([1], overrides)))
  return path
}

/** SoftHSM lets whoever generates a key say that it may leave. */
async function generateExtractable(): Promise<SiteCertificate> {
  site.token.tool([
    '--login',
    '--pin',
    site.token.pin,
    '--keypairgen',
    '--key-type',
    'EC:prime256v1',
    '--label',
    'open',
    '--id',
    '7f',
    '--extractable',
  ])
  return site.certificateFor({ label: 'open', spki: site.token.spki('open') })
}

async function compile(args: readonly string[]): Promise<void> {
  const { status, stderr } = await runTool('cc', ['-shared', '-fPIC', ...args])
  if (status !== 0) throw new Error(stderr)
}

/**
 * What an operator can get wrong: each mistake ends with a message that names the thing and the cure, on standard
 * error, with the exit status of its kind (sysexits.h) and without a stack trace. Standard output stays JSON.
 */

import { chmodSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { listen, port } from '../integration/proxy/support/front-server.ts'
import { startUpstream } from '../integration/proxy/support/upstreams.ts'
import { nodeUnderTest } from '../support/npm-start.ts'
import { Faults } from '../support/p11-faults.ts'
import { program, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site, type SiteCertificate } from '../support/site.ts'
import { SoftHsm } from '../support/softhsm.ts'
import { curl, type Outcome, runTool } from '../support/tools.ts'

const USAGE = 64
const UNAVAILABLE = 69
const CONFIGURATION = 78

let site: Site
let good: SiteCertificate
let other: SiteCertificate
let rsa: SiteCertificate
const occupied = createServer()

beforeAll(async () => {
  site = new Site()
  good = site.certificate()
  other = site.certificate()
  rsa = site.certificate({ type: 'rsa:2048' })
  await listen(occupied)
})

afterAll(() => {
  occupied.close()
  site?.[Symbol.dispose]()
})

test.each([
  { args: [], says: /Usage: sealgate/ },
  { args: ['run'], says: /--config FILE is missing/ },
  { args: ['rnu'], says: /unknown command 'rnu'\n\(Did you mean run\?\)/ },
  { args: ['run', '--confg', 'x'], says: /unknown option '--confg'\n\(Did you mean --config\?\)/ },
])('`sealgate $args` is a usage error', async ({ args, says }) => {
  expectRefusal(await sealgateCommand(args), USAGE, says)
})

test('a configuration file that is not there is named', async () => {
  const refused = await sealgateCommand(['run', '--config', '/nowhere/sealgate.yaml'])

  expectRefusal(refused, CONFIGURATION, /\/nowhere\/sealgate\.yaml: there is no such file/)
})

test('a configuration may come through a pipe that the shell has made', async () => {
  const file = join(site.directory, 'piped.yaml')
  writeFileSync(file, JSON.stringify(site.config([9])))

  const check = `exec "$1" "$2" check --config <(cat "$3")`
  const outcome = await runTool('bash', ['-c', check, 'bash', nodeUnderTest, program, file])

  expect(outcome).toMatchObject({ status: 0, stderr: '' })
})

test('all mistakes of a configuration are told at once, each with its place and its cure', async () => {
  const text = `
listner: 1
hsms:
  hsm-a: { module: /nowhere/p11.so, token: web, pin: { file: ./nowhere.pin }, sessions: many }
  hsm-c: { module: /nowhere/p11.so, token: web, pin: "1234" }
certificates:
  - { chain: ./nowhere.pem, key: { uri: "pkcs11:object=a", hsms: [hsm-b] } }
listeners:
  - { address: "127.0.0.1:0", protocol: http, upstream: ap }
upstreams:
  app: { servers: ["ftp://127.0.0.1:21"] }
signing: { timeout: 5 }
`
  for (const command of ['run', 'check']) {
    const refused = await withConfig(command, text)

    expectRefusal(refused, CONFIGURATION, /:2:1: listner: unknown key; did you mean "listeners"\?/)
    for (const says of [
      /:4:\d+: hsms\.hsm-a\.module: \/nowhere\/p11\.so: there is no such file: install it/,
      /:4:\d+: hsms\.hsm-a\.pin\.file: .*nowhere\.pin: there is no such file/,
      /:4:\d+: hsms\.hsm-a\.sessions: /,
      /:5:\d+: hsms\.hsm-c\.pin: the PIN is not written here/,
      /:7:\d+: certificates\[0\]\.chain: .*nowhere\.pem: there is no such file/,
      /:7:\d+: certificates\[0\]\.key\.hsms\[0\]: there is no "hsm-b" in hsms; did you mean "hsm-a"\?/,
      /:9:\d+: listeners\[0\]\.upstream: there is no "ap" in upstreams; did you mean "app"\?/,
      /:11:\d+: upstreams\.app\.servers\[0\]: ftp:\/\/ is not supported: use http:\/\/ or tcp:\/\//,
      /:12:\d+: signing\.timeout: needs a unit, e\.g\. 250ms/,
    ])
      expect(refused.stderr).toMatch(says)
    expect(refused.stderr).not.toContain('1234')
  }
})

test('a file that is not YAML is refused with the place', async () => {
  expectRefusal(await withConfig('run', 'hsms: [\nlisteners: }'), CONFIGURATION, /sealgate\.yaml:2:\d+: /)
})

interface Trouble {
  readonly what: string
  readonly config: () => object
  readonly says: RegExp
}

const TROUBLES: readonly Trouble[] = [
  {
    what: 'a module that is no shared library',
    config: () => ({ hsms: { 'hsm-a': { ...site.member(), module: site.ca } } }),
    says: /^hsm "hsm-a": the PKCS#11 module does not load: .*ca\.pem: .*; is it a PKCS#11 module.*ldd/m,
  },
  {
    what: 'a library that is no PKCS#11 module',
    config: () => ({ hsms: { 'hsm-a': { ...site.member(), module: libc() } } }),
    says: /^hsm "hsm-a": the PKCS#11 module does not load: /m,
  },
  {
    what: 'a token that is not there',
    config: () => ({ hsms: { 'hsm-a': { ...site.member(), token: 'wbe' } } }),
    says: /^hsm "hsm-a": no token with label "wbe"; .* shows "web" \(serial [0-9a-f]+, slot \d+\)$/m,
  },
  {
    what: 'a key that is not there',
    config: () => withKey('pkcs11:object=kye-1;type=private'),
    says: /^hsm "hsm-a": no private key matches pkcs11:object=kye-1;type=private on token "web"; is it there/m,
  },
  {
    what: 'a certificate for another key',
    config: () => withKey(other.key.uri),
    says: /^hsm "hsm-a": the key pkcs11:object=key-2;type=private on token "web" is not the certificate's key/m,
  },
  {
    what: 'a certificate for a key of another type',
    config: () => withKey(rsa.key.uri),
    says: /^hsm "hsm-a": the key pkcs11:object=key-3;type=private on token "web" is not the certificate's key/m,
  },
]

test.each(TROUBLES)('$what keeps `run --strict` from starting', async ({ config, says }) => {
  const text = JSON.stringify(site.config([9], { certificates: [good], ...config() }))

  expectRefusal(await withConfig('run', text, '--strict'), UNAVAILABLE, says)
  const check = await withConfig('check', text)
  expect(check).toMatchObject({ status: UNAVAILABLE, stderr: '' })
  // The same finding, in columns.
  expect(check.stdout.replace(/^error +hsm-a +/gm, '')).toMatch(says)
  expect(check.stdout).toMatch(/^error +\S+\.pem +no HSM signs with /m)
})

test('a wrong PIN is tried once by each host, and never again: the token is not locked', async () => {
  const pin = join(site.directory, 'wrong.pin')
  writeFileSync(pin, '99999999\n')
  chmodSync(pin, 0o600)
  // A token each: a login writes its token anew, and another one at that moment may be answered before the PIN is looked at.
  using other = new SoftHsm()
  other.addToken(site.token.label)
  const [a, b] = [new Faults(site.softHsm, 'wrong-pin'), new Faults(other, 'wrong-pin')]
  const hsms = {
    'hsm-a': { ...site.member(), ...a.options, pin: { file: pin } },
    'hsm-b': { ...site.member(), ...b.options, pin: { file: pin } },
  }
  const text = JSON.stringify(site.config([9], { hsms, certificates: [onBoth(good)] }))

  const refused = await withConfig('run', text)

  const says =
    /hsm "hsm-b": the token refused the PIN from file \S+wrong\.pin \(CKR_PIN_INCORRECT\); it was tried once/
  expectRefusal(refused, UNAVAILABLE, says)
  expect(refused.stderr).toContain('hsm "hsm-a": the token refused the PIN')
  expect(refused.stdout + refused.stderr).not.toContain('99999999')
  expect([a.calls('C_Login'), b.calls('C_Login')]).toEqual([1, 1])
  await using sealgate = await startSealgate({ config: site.config([9], { certificates: [good] }) })
  expect((await sealgate.admin('/readyz'))?.status).toBe(200)
})

test('one member with a wrong PIN leaves the other to serve, and is not tried again', async () => {
  const pin = join(site.directory, 'wrong.pin')
  writeFileSync(pin, '99999999\n', { mode: 0o600 })
  const faults = new Faults(site.softHsm, 'one-wrong-pin')
  const hsms = {
    'hsm-a': site.member(),
    'hsm-b': { ...site.member(), ...faults.options, pin: { file: pin } },
  }
  await using upstream = await startUpstream((_request, response) => response.end('served'))
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { hsms, certificates: [onBoth(good)] }),
  })

  for (let request = 0; request < 5; request++)
    expect((await curl('--cacert', site.ca, sealgate.url())).stdout).toBe('served')

  expect(faults.calls('C_Login')).toBe(1)
  expect((await sealgate.metrics()).sum('sealgate_hsm_up', { hsm: 'hsm-b' })).toBe(0)
  expect(sealgate.lines.find(({ msg }) => msg === 'HSM not ready')).toMatchObject({
    level: 'warn',
    hsm: 'hsm-b',
    code: 'ERR_HSM_PIN',
  })
  const said = sealgate.lines.find(({ msg }) => msg?.includes('out of service'))
  expect(said?.msg).toMatch(
    /the token refused the PIN .*; out of service until \S+wrong\.pin has changed and a reload, or until restarted$/,
  )
  writeFileSync(pin, site.token.pin)
  expect(await sealgate.reload()).toMatchObject({ msg: 'reloaded', newHosts: ['hsm-b'] })
  await vi.waitFor(async () =>
    expect((await sealgate.metrics()).sum('sealgate_hsm_up', { hsm: 'hsm-b' })).toBe(1),
  )
  sealgate.markStarted()
  await sealgate.finish()
})

test.each(['http', 'tcp', 'redirect', 'admin'])(
  'a port that is in use keeps it from starting (%s)',
  async (who) => {
    const address = `127.0.0.1:${port(occupied)}`
    const upstreams = { app: { servers: [`${who === 'tcp' ? 'tcp' : 'http'}://127.0.0.1:9`] } }
    const listener = { protocol: who, address, ...(who === 'redirect' ? {} : { upstream: 'app' }) }
    const where = who === 'admin' ? { admin: { address } } : { listeners: [listener], upstreams }
    const text = JSON.stringify(site.config([9], { certificates: [good], ...where }))

    expectRefusal(
      await withConfig('run', text),
      UNAVAILABLE,
      new RegExp(`${address}.* in use.*; .*choose another`),
    )
  },
)

test('an expired certificate is a warning: it is served as before', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('served'))
  const config = site.config([upstream.port], { certificates: [site.certificate({ days: -1 })] })
  await using sealgate = await startSealgate({ config })

  expect((await curl('--insecure', sealgate.url())).stdout).toBe('served')
  expect(sealgate.lines.find(({ level }) => level === 'warn')?.msg).toMatch(/\.pem expired on .*renew it/)
  expect((await sealgate.status()).certificates[0]?.daysLeft).toBeLessThan(0)
  const check = await withConfig('check', JSON.stringify(config))
  expect(check).toMatchObject({ status: 0, stderr: '' })
  expect(check.stdout).toMatch(/^warning .*\.pem expired on /m)
  await sealgate.finish()
})

/** One that was issued for `good`'s key, with the URI of something else. */
function withKey(uri: string): object {
  return { certificates: [{ ...good, key: { ...good.key, uri } }] }
}

function onBoth(certificate: SiteCertificate): SiteCertificate {
  return { ...certificate, key: { ...certificate.key, hsms: ['hsm-a', 'hsm-b'] } }
}

function withConfig(command: string, text: string, ...options: readonly string[]): Promise<Outcome> {
  const file = join(site.directory, 'sealgate.yaml')
  writeFileSync(file, text)
  return sealgateCommand([command, ...options, '--config', file])
}

function expectRefusal({ status, stdout, stderr }: Outcome, expected: number, says: RegExp): void {
  expect({ status, stderr }).toMatchObject({ status: expected })
  expect(stderr).toMatch(says)
  expect(stderr).not.toMatch(/^\s+at /m)
  for (const line of stdout.split('\n').filter((text) => text !== ''))
    expect(JSON.parse(line)).toBeTypeOf('object')
}

/** Some shared library that is surely there: the C library of the Node that runs this. */
function libc(): string {
  const objects: readonly string[] = Reflect.get(Object(process.report.getReport()), 'sharedObjects')
  return objects.find((path) => /libc[.-]|musl/.test(path)) ?? ''
}

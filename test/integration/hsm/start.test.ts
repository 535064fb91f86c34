/** What `start()` says of members that cannot sign: the thing that is wrong, by name, and what is there instead. */

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import type { HsmError } from '../../../src/errors.ts'
import type { HsmOptions } from '../../../src/hsm/options.ts'
import { Faults } from '../../support/p11-faults.ts'
import { eventually, firstScheme, signRequest, type TestService, testService } from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const hsm = new SoftHsm()
const faults = new Faults(hsm, 'hsm-a')
let token: SoftToken
let spki: Uint8Array
let otherSpki: Uint8Array
let running: TestService | undefined

beforeAll(() => {
  token = hsm.addToken('web')
  hsm.addToken('archive')
  spki = token.generateKey({ label: 'ec', id: '01', type: 'EC:prime256v1' })
  otherSpki = token.generateKey({ label: 'other', id: '02', type: 'EC:prime256v1' })
})
afterAll(() => hsm.remove())
afterEach(async () => {
  await running?.service.close()
  running = undefined
  faults.clear()
})

describe('one member that cannot be used', () => {
  test('a module that is not there is named', async () => {
    const [problem] = await problemsOf({ module: '/nonexistent/libvendor.so' })

    expect(problem).toMatchObject({ code: 'ERR_HSM_MODULE', hsm: 'hsm-a' })
    expect(problem?.message).toMatch(
      /^hsm "hsm-a": the PKCS#11 module does not load: \/nonexistent\/libvendor\.so/,
    )
  })

  test('a token that is not there is named, with those that are', async () => {
    const [problem] = await problemsOf({ token: { label: 'wbe' } })

    expect(problem).toMatchObject({ code: 'ERR_HSM_TOKEN_NOT_FOUND' })
    expect(problem?.message).toMatch(
      /no token with label "wbe"; .* shows .*"web" \(serial [0-9a-f]{16}, slot \d+\)/,
    )
    expect(problem?.message).toContain('"archive"')
  })

  test('a PIN file that is not there is named, and no login is tried', async () => {
    const [problem] = await problemsOf({ pin: { file: '/nonexistent/pin' }, ...faults.options })

    expect(problem?.message).toBe('hsm "hsm-a": the PIN file /nonexistent/pin cannot be read (ENOENT)')
    expect(faults.calls('C_Login')).toBe(0)
  })

  test('a wrong PIN is tried exactly once, and never again', async () => {
    const wrong = join(hsm.directory, 'wrong.pin')
    writeFileSync(wrong, '00000000\n')

    const [problem] = await problemsOf({ pin: { file: wrong }, ...faults.options })

    expect(problem).toMatchObject({ code: 'ERR_HSM_PIN', call: 'C_Login', rv: 0xa0 })
    expect(problem?.message).toContain(`file ${wrong} (CKR_PIN_INCORRECT); it was tried once`)
    expect(problem?.message).not.toContain('00000000')
    // Longer than the longest pause between two tries.
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(running?.service.status()).toMatchObject([{ state: 'failed', restarts: 0, pid: undefined }])
    expect(faults.calls('C_Login')).toBe(1)
    const signing = key().sign(signRequest(firstScheme(key())))
    await expect(signing).rejects.toMatchObject({ code: 'ERR_HSM_ALL_FAILED', errors: [problem] })
  })

  test.each([
    ['one try is left', 'CKF_USER_PIN_FINAL_TRY', 0x20000, 'one PIN try is left'],
    ['it is locked', 'CKF_USER_PIN_LOCKED', 0x40000, 'the PIN is locked'],
  ])('no login is tried when the token says that %s (%s)', async (_, _name, flag, message) => {
    const before = faults.calls('C_Login')
    faults.set(`C_GetTokenInfo flags ${flag}`)

    const [problem] = await problemsOf(faults.options)

    expect(problem?.message).toContain(message)
    expect(faults.calls('C_Login')).toBe(before)
    expect(running?.service.status()).toMatchObject([{ state: 'failed' }])
  })

  test('a key that is not there is named by its URI', async () => {
    const [problem] = await problemsOf({}, { label: 'nobody', spki })

    expect(problem).toMatchObject({ code: 'ERR_HSM_KEY_NOT_FOUND' })
    expect(problem?.message).toContain(
      'no private key matches pkcs11:object=nobody;type=private on token "web"',
    )
  })

  test('a key that is not the certificate’s is found out by its public key', async () => {
    const [problem] = await problemsOf({}, { label: 'ec', spki: otherSpki })

    expect(problem).toMatchObject({ code: 'ERR_HSM_KEY_MISMATCH' })
    expect(problem?.message).toContain(
      'pkcs11:object=ec;type=private on token "web" is not the certificate\'s key',
    )
  })

  test('a key whose public half is not on the token is found out by its test signature', async () => {
    token.generateKey({ label: 'bare', id: '03', type: 'EC:prime256v1' })
    token.deletePublicKey('bare')

    const [problem] = await problemsOf({}, { label: 'bare', spki: otherSpki })

    expect(problem).toMatchObject({ code: 'ERR_HSM_KEY_MISMATCH' })
    expect(problem?.message).toContain('its test signature does not verify')
  })
})

test('a module that links another OpenSSL gets that one and not Node’s', async () => {
  const compile = (name: string, source: string, ...flags: readonly string[]): string => {
    const output = join(hsm.directory, name)
    execFileSync('cc', ['-shared', '-fPIC', '-o', output, '-x', 'c', '-', ...flags], { input: source })
    return output
  }
  compile('libothercrypto.so', 'unsigned long OpenSSL_version_num(void) { return 42; }')
  const module = compile(
    'libvendor.so',
    `#include <stdio.h>
     unsigned long OpenSSL_version_num(void);
     __attribute__((constructor)) static void load(void) {
       fprintf(stderr, "OpenSSL %lu\\n", OpenSSL_version_num());
     }`,
    ...['-Wl,--no-as-needed', `-L${hsm.directory}`, '-lothercrypto', `-Wl,-rpath,${hsm.directory}`],
  )

  await problemsOf({ module })

  await eventually(() => running?.lines.join().includes('OpenSSL 42') === true, 'the module has printed')
})

test('a key is selected by its id, and a token by its serial number', async () => {
  const first = testService({ hsms: [token.hsmOptions()], keys: [{ label: 'ec', spki }] })
  await first.service.start()
  const serial = first.service.status()[0]?.token?.serial ?? ''
  await first.service.close()

  const hsms = [token.hsmOptions({ token: { serial } })]
  running = testService({ hsms, keys: [{ label: 'other', id: Buffer.from([2]), spki: otherSpki }] })

  expect(await running.service.start()).toEqual([])
})

test('of two keys with one label the one that is the certificate’s signs', async () => {
  const twins = ['11', '12'].map((id) => {
    token.tool([
      '--login',
      '--pin',
      token.pin,
      '--keypairgen',
      '--key-type',
      'EC:prime256v1',
      '--label',
      'twin',
      '--id',
      id,
    ])
    return token.spki('twin', id)
  })

  for (const twin of twins) {
    const { service } = testService({ hsms: [token.hsmOptions()], keys: [{ label: 'twin', spki: twin }] })
    expect(await service.start()).toEqual([])
    await service.close()
  }
})

test('a key that wants a login for every signature gets one', async () => {
  const always = token.generateKey({
    label: 'always',
    id: '21',
    type: 'EC:prime256v1',
    alwaysAuthenticate: true,
  })
  running = testService({
    hsms: [token.hsmOptions(faults.options)],
    keys: [{ label: 'always', spki: always }],
  })
  const before = faults.calls('C_Login')

  expect(await running.service.start()).toEqual([])
  await key().sign(signRequest(firstScheme(key())))

  // Once for the token, once for the test signature, once for the signature.
  expect(faults.calls('C_Login') - before).toBe(3)
})

test('a PIN from the environment reaches the host that needs it and no other', async () => {
  process.env['TEST_HSM_PIN'] = token.pin
  try {
    const options = token.hsmOptions({ pin: { env: 'TEST_HSM_PIN' } })
    const other = token.hsmOptions({ name: 'hsm-b' })
    running = testService({ hsms: [options, other], keys: [{ label: 'ec', spki }] })

    expect(await running.service.start()).toEqual([])
    const environments = running.service.status().map(({ pid }) =>
      readFileSync(`/proc/${pid}/environ`, 'utf8')
        .split('\0')
        .map((line) => line.split('=')[0]),
    )
    expect(environments.map((names) => names.includes('TEST_HSM_PIN'))).toEqual([true, false])
  } finally {
    delete process.env['TEST_HSM_PIN']
  }
})

test('one session is enough to test many keys with all their schemes', async () => {
  const rsa = token.generateKey({ label: 'rsa', id: '31', type: 'rsa:2048' })
  running = testService({
    hsms: [token.hsmOptions({ sessions: 1 })],
    keys: Array.from({ length: 5 }, () => ({ label: 'rsa', spki: rsa })),
  })

  expect(await running.service.start()).toEqual([])
  expect(key().schemes.length).toBe(6)
})

test('a scheme whose mechanism fails is not offered, the others are', async () => {
  const rsa = token.generateKey({ label: 'rsa2', id: '32', type: 'rsa:2048' })
  faults.set('C_SignInit rv CKR_MECHANISM_PARAM_INVALID times 1')
  running = testService({ hsms: [token.hsmOptions(faults.options)], keys: [{ label: 'rsa2', spki: rsa }] })

  expect(await running.service.start()).toEqual([])
  expect(key().schemes.map(({ name }) => name)).not.toContain('rsa_pss_rsae_sha256')
  expect(key().schemes.length).toBe(5)
})

test('start succeeds for the keys that can be used and names the ones that cannot', async () => {
  running = testService({
    hsms: [token.hsmOptions()],
    keys: [
      { label: 'nobody', spki },
      { label: 'ec', spki },
    ],
  })

  const problems = await running.service.start()

  expect(problems.map(({ code }) => code)).toEqual(['ERR_HSM_KEY_NOT_FOUND'])
  expect([0, 1].map((index) => running?.service.key(index).ready)).toEqual([false, true])
  const good = running.service.key(1)
  expect((await good.sign(signRequest(firstScheme(good)))).length).toBeGreaterThan(0)
})

test('a member that is missing at the start comes up by itself when it returns', async () => {
  faults.set('* removed')
  const [problem] = await problemsOf(faults.options)
  expect(problem?.message).toContain('shows no token at all')

  faults.clear()

  await eventually(() => key().ready, 'the key is ready')
  expect((await key().sign(signRequest(firstScheme(key())))).length).toBeGreaterThan(0)
})

/** Starts one member with these options and says what was wrong. */
async function problemsOf(
  options: Partial<HsmOptions>,
  wanted: { label: string; spki: Uint8Array } = { label: 'ec', spki },
): Promise<readonly HsmError[]> {
  running = testService({ hsms: [token.hsmOptions(options)], keys: [wanted] })
  return running.service.start()
}

function key() {
  if (running === undefined) throw new Error('nothing is running')
  return running.service.key(0)
}

/** The development token that `npm start` makes: whole after any interruption, its keys not readable. */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import pkcs11 from 'pkcs11js'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'

const run = promisify(execFile)
let state: string

beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'sealgate-hsm-'))
})
afterEach(() => {
  rmSync(state, { recursive: true, force: true })
})

test('its certificates are valid by the strict rules and for this machine only', async () => {
  await setUp()

  const certs = join(state, 'certs')
  const leaves = ['localhost.ecdsa.pem', 'localhost.rsa.pem'].map((file) => join(certs, file))
  const verify = ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', join(certs, 'ca.pem')]
  const { stdout } = await run('openssl', [...verify, '-verify_hostname', 'localhost', ...leaves])
  expect(stdout).toBe(leaves.map((leaf) => `${leaf}: OK\n`).join(''))
  await expect(run('openssl', [...verify, '-verify_hostname', 'example.com', ...leaves])).rejects.toThrow()
})

test('its private keys, the CA key included, cannot be read out of it', async () => {
  await setUp()

  const keys = privateKeysIn(state)
  const labels = ['development-ca', 'localhost-ec', 'localhost-rsa', 'sealgate-audit']
  expect(keys.map(({ label }) => label).sort()).toEqual(labels)
  for (const { secret } of keys) expect(secret).toContain('CKR_ATTRIBUTE_SENSITIVE')
})

test('its PIN can be read by its owner only', async () => {
  await setUp()

  expect(statSync(join(state, 'hsm.pin')).mode & 0o777).toBe(0o600)
})

test('a set-up that is killed while it makes the token is completed by the next one', async () => {
  const killed = start()
  await untilTrue(() => readdirSync(state).some((name) => name.startsWith('tokens.building-')))
  killed.kill('SIGKILL')
  await once(killed, 'close')
  expect(existsSync(join(state, 'tokens'))).toBe(false)

  await setUp()

  expect(privateKeysIn(state)).toHaveLength(4)
  expect(readdirSync(state).filter((name) => name.includes('building'))).toEqual([])
})

test('set-ups that run at the same time agree on one token', async () => {
  await Promise.all([setUp(), setUp(), setUp()])
  await setUp()

  expect(privateKeysIn(state)).toHaveLength(4)
  await run('openssl', [
    'verify',
    '-CAfile',
    join(state, 'certs/ca.pem'),
    join(state, 'certs/localhost.ecdsa.pem'),
  ])
})

test('a set-up does not mind that others log in to the token meanwhile', async () => {
  await setUp()
  const login = `
    import { readFileSync } from 'node:fs'
    import { withToken } from './dev/token.mjs'
    const [, state] = process.argv
    const pin = readFileSync(state + '/hsm.pin', 'utf8').trim()
    for (;;) try { withToken({ module: state + '/libsofthsm2.so', conf: state + '/softhsm2.conf', pin }, () => {}) } catch {}`
  const others = [1, 2, 3].map(() =>
    spawn(nodeUnderTest, ['--input-type=module', '--eval', login, state], { cwd: checkout, stdio: 'ignore' }),
  )
  try {
    for (let times = 0; times < 6; times++) await setUp()
  } finally {
    for (const other of others) other.kill('SIGKILL')
  }
}, 60_000)

test('a certificate that is cut short is issued again, and the good ones are kept', async () => {
  await setUp()
  const [ecdsa, rsa] = [join(state, 'certs/localhost.ecdsa.pem'), join(state, 'certs/localhost.rsa.pem')]
  const good = readFileSync(rsa)
  writeFileSync(ecdsa, readFileSync(ecdsa).subarray(0, 100))

  await setUp()

  await run('openssl', ['verify', '-CAfile', join(state, 'certs/ca.pem'), ecdsa, rsa])
  expect(readFileSync(rsa)).toEqual(good)
})

test('a token that cannot be used is an error that says what to do', async () => {
  await setUp()
  writeFileSync(join(state, 'hsm.pin'), 'not the PIN\n')

  await expect(setUp()).rejects.toMatchObject({
    code: 69,
    stderr: expect.stringMatching(/CKR_PIN_INCORRECT.*\n.*Remove that folder/),
  })
})

test.each(['a#b', 'a=b'])(
  'a folder %s, which SoftHSM does not understand, is refused with the reason',
  async (name) => {
    const options = ['dev/setup.mjs', '--hsm-only', '--state', join(state, name)]

    await expect(run(nodeUnderTest, options, { cwd: checkout })).rejects.toMatchObject({
      code: 69,
      stderr: expect.stringMatching(/no # and no = in its path.*--state DIR/),
    })
  },
)

test('a folder that cannot be made is an error without a stack trace', async () => {
  writeFileSync(join(state, 'file'), '')

  const options = ['dev/setup.mjs', '--hsm-only', '--state', join(state, 'file', 'folder')]
  await expect(run(nodeUnderTest, options, { cwd: checkout })).rejects.toMatchObject({
    code: 69,
    stderr: expect.not.stringMatching(/^\s+at /m),
  })
})

test('an option that there is not is a usage error without a stack trace', async () => {
  await expect(
    run(nodeUnderTest, ['dev/setup.mjs', '--sate', state], { cwd: checkout }),
  ).rejects.toMatchObject({
    code: 64,
    stderr: expect.stringMatching(/Unknown option '--sate'.*\n.*--state DIR/),
  })
})

function setUp(): Promise<unknown> {
  return run(nodeUnderTest, ['dev/setup.mjs', '--hsm-only', '--state', state], { cwd: checkout })
}

function start(): ChildProcess {
  return spawn(nodeUnderTest, ['dev/setup.mjs', '--hsm-only', '--state', state], {
    cwd: checkout,
    stdio: 'ignore',
  })
}

async function untilTrue(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(1)
}

/** Every private key of the token, and what the token says when asked for its secret part. */
function privateKeysIn(folder: string): { label: string; secret: string }[] {
  process.env['SOFTHSM2_CONF'] = join(folder, 'softhsm2.conf')
  const p11 = new pkcs11.PKCS11()
  p11.load(join(folder, 'libsofthsm2.so'))
  p11.C_Initialize()
  try {
    const slot = p11
      .C_GetSlotList(true)
      .find((slot) => p11.C_GetTokenInfo(slot).label.startsWith('sealgate-dev'))
    const session = p11.C_OpenSession(slot ?? Buffer.alloc(8), pkcs11.CKF_SERIAL_SESSION)
    p11.C_Login(session, pkcs11.CKU_USER, readFileSync(join(folder, 'hsm.pin'), 'utf8').trim())
    p11.C_FindObjectsInit(session, [{ type: pkcs11.CKA_CLASS, value: pkcs11.CKO_PRIVATE_KEY }])
    const handles = p11.C_FindObjects(session, 100)
    p11.C_FindObjectsFinal(session)
    return handles.map((handle) => {
      const [label] = p11.C_GetAttributeValue(session, handle, [{ type: pkcs11.CKA_LABEL }])
      return { label: String(label?.value), secret: secretPart(() => readSecret(p11, session, handle)) }
    })
  } finally {
    p11.C_Finalize()
    p11.close()
  }
}

/** CKA_VALUE of an EC key, CKA_PRIVATE_EXPONENT of an RSA key. */
function readSecret(p11: pkcs11.PKCS11, session: Buffer, handle: Buffer): string {
  const [type] = p11.C_GetAttributeValue(session, handle, [{ type: pkcs11.CKA_KEY_TYPE }])
  const isRsa = Buffer.isBuffer(type?.value) && type.value.readUInt8(0) === pkcs11.CKK_RSA
  const secret = isRsa ? pkcs11.CKA_PRIVATE_EXPONENT : pkcs11.CKA_VALUE
  const [value] = p11.C_GetAttributeValue(session, handle, [{ type: secret }])
  return `readable: ${value?.value}`
}

function secretPart(read: () => string): string {
  try {
    return read()
  } catch (error) {
    return String(error)
  }
}

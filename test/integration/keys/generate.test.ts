/**
 * Keys in real tokens: made, read, signing, destroyed. What their requests say is checked by openssl, what their attributes
 * are by pkcs11-tool, which knows nothing of Sealgate.
 *
 * Needs `dist/` (npm run build:ts).
 */

import { expect, test } from 'vitest'
import { exitStatus } from '../../../src/errors.ts'
import { generateInCluster, onFirst } from '../../../src/keys/cluster.ts'
import { destroyKey, generateKey, proveKey, readToken, signX509 } from '../../../src/keys/jobs.ts'
import { exactName } from '../../../src/keys/key-facts.ts'
import { KEY_TYPE_NAMES } from '../../../src/keys/key-types.ts'
import { parseAlternativeName } from '../../../src/keys/x509/alternative-names.ts'
import { pem } from '../../../src/keys/x509/der.ts'
import { NssDatabase } from '../../support/nss.ts'
import { Faults } from '../../support/p11-faults.ts'
import { SoftHsm } from '../../support/softhsm.ts'
import { runTool } from '../../support/tools.ts'

const SIGNING_TYPES = KEY_TYPE_NAMES.filter((name) => name !== 'aes-256')
const NAMES = [parseAlternativeName('dns:www.example.com')]
const SUBJECT = [{ type: '2.5.4.3', value: 'www.example.com' }]

test.each(SIGNING_TYPES)(
  'a key of type %s is born in the token, signs only, and openssl verifies its request',
  async (type) => {
    using softHsm = new SoftHsm()
    const token = softHsm.addToken('web')
    const hsm = token.hsmOptions()

    const { key } = await generateKey(hsm, { type, label: 'www', id: '0a0b' })
    const { der } = await signX509(hsm, {
      key: exactName(key),
      subject: SUBJECT,
      names: NAMES,
      validity: null,
    })

    expect(key).toMatchObject({
      label: 'www',
      id: '0a0b',
      type,
      attributes: {
        sensitive: true,
        alwaysSensitive: true,
        extractable: false,
        neverExtractable: true,
        local: true,
        sign: true,
        decrypt: false,
        unwrap: false,
        derive: false,
      },
    })
    const verified = await runTool('openssl', ['req', '-verify', '-noout', '-text'], {
      input: pem('CERTIFICATE REQUEST', der),
    })
    expect(verified.stdout + verified.stderr).toContain('verify OK')
    expect(verified.stdout).toContain('DNS:www.example.com')
    const shown = token.tool(['--login', '--pin', token.pin, '--list-objects', '--type', 'privkey'])
    expect(shown).toMatch(/Usage:\s+sign\s*$/m)
    expect(shown).toMatch(/Access:\s+sensitive, always sensitive, never extractable, local/)
  },
  60_000,
)

test('a key for session-ticket keys encrypts and does nothing else', async () => {
  using softHsm = new SoftHsm()
  const hsm = softHsm.addToken('web').hsmOptions()

  const { key } = await generateKey(hsm, { type: 'aes-256', label: 'tickets', id: '01' })

  expect(key).toMatchObject({ kind: 'secret', type: 'aes-256', spki: null })
  expect(key.attributes).toMatchObject({
    extractable: false,
    sensitive: true,
    decrypt: true,
    sign: false,
    unwrap: false,
  })
  await expect(proveKey(hsm, exactName(key))).rejects.toThrow(/secret key: it signs nothing/)
})

test('a label or an id that is there already is refused, and nothing is made', async () => {
  using softHsm = new SoftHsm()
  const hsm = softHsm.addToken('web').hsmOptions()
  await generateKey(hsm, { type: 'p-256', label: 'www', id: '01' })

  const sameLabel = await failure(generateKey(hsm, { type: 'p-256', label: 'www', id: '02' }))
  const sameId = await failure(generateKey(hsm, { type: 'p-256', label: 'other', id: '01' }))

  expect(sameLabel).toMatchObject({
    code: 'ERR_KEYS_EXISTS',
    message: expect.stringContaining('choose another --label'),
  })
  expect(sameId).toMatchObject({
    code: 'ERR_KEYS_EXISTS',
    message: expect.stringContaining('choose another --id'),
  })
  expect(exitStatus(sameLabel)).toBe(64)
  expect((await readToken(hsm)).keys).toHaveLength(1)
})

test('a key that is destroyed takes its public half along, and no other key', async () => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('web')
  const hsm = token.hsmOptions()
  const { key: old } = await generateKey(hsm, { type: 'p-256', label: 'old', id: '01' })
  await generateKey(hsm, { type: 'p-256', label: 'new', id: '02' })

  await destroyKey(hsm, exactName(old))

  expect((await readToken(hsm)).keys.map(({ label }) => label)).toEqual(['new'])
  expect(token.tool(['--list-objects', '--type', 'pubkey'])).not.toMatch(/label:\s+old/)
  expect(await failure(destroyKey(hsm, exactName(old)))).toMatchObject({
    code: 'ERR_HSM_KEY_NOT_FOUND',
    message: expect.stringContaining('it holds: "new", id 02'),
  })
})

test('members that show one token get one key, and both sign with it', async () => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('web')
  const members = ['a', 'b'].map((name) => token.hsmOptions({ name }))

  const { key } = await generateInCluster(members, { type: 'p-256', label: 'www', id: '01' })

  for (const hsm of members) {
    expect((await readToken(hsm)).keys).toEqual([key])
    expect((await proveKey(hsm, exactName(key))).schemes).toEqual(['ecdsa_secp256r1_sha256'])
  }
})

test('separate tokens are told apart, nothing is made, and the vendor’s way is told', async () => {
  using softHsm = new SoftHsm()
  const members = ['a', 'b'].map((name) => softHsm.addToken(`token-${name}`).hsmOptions({ name }))

  const refused = await failure(generateInCluster(members, { type: 'p-256', label: 'www', id: '01' }))

  expect(refused).toMatchObject({
    code: 'ERR_USAGE',
    message: expect.stringMatching(/2 separate tokens.*"a": token "token-a"/s),
  })
  expect(String(refused)).toMatch(/SoftHSM: it has none/)
  for (const hsm of members) expect((await readToken(hsm)).keys).toEqual([])
})

test('an imported key is told from one that was born here', async () => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('web')
  token.generateKey({ label: 'always', id: '05', type: 'EC:prime256v1', alwaysAuthenticate: true })
  const { generateKeyPairSync } = await import('node:crypto')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  token.importKey({
    label: 'imported',
    id: '06',
    pkcs8Pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  })

  const keys = new Map((await readToken(token.hsmOptions())).keys.map((key) => [key.label, key]))

  expect(keys.get('imported')?.attributes).toMatchObject({ local: false, alwaysSensitive: false })
  expect(keys.get('always')?.attributes).toMatchObject({ local: true, alwaysAuthenticate: true })
})

test('a key that wants its PIN for every signature gets it', async () => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('web')
  token.generateKey({ label: 'always', id: '05', type: 'EC:prime256v1', alwaysAuthenticate: true })

  const proved = await proveKey(token.hsmOptions(), { label: 'always', id: null, spki: null })

  expect(proved.schemes).toEqual(['ecdsa_secp256r1_sha256'])
})

test.each(['p-256', 'rsa-2048'] as const)(
  'NSS, an implementation by other people, makes, shows and destroys a key of type %s',
  async (type) => {
    using nss = new NssDatabase()
    const hsm = nss.hsmOptions()

    const { key } = await generateKey(hsm, { type, label: 'www', id: '0a0b' })
    const { der } = await signX509(hsm, {
      key: exactName(key),
      subject: SUBJECT,
      names: NAMES,
      validity: null,
    })

    expect(key).toMatchObject({ type, attributes: { sensitive: true, extractable: false, sign: true } })
    const verified = await runTool('openssl', ['req', '-verify', '-noout'], {
      input: pem('CERTIFICATE REQUEST', der),
    })
    expect(verified.stdout + verified.stderr).toContain('verify OK')
    expect((await readToken(hsm)).keys).toContainEqual(key)
    await destroyKey(hsm, exactName(key))
    expect((await readToken(hsm)).keys).toEqual([])
  },
  60_000,
)

test('after a reboot that was commanded, keys are made and destroyed through the fault module', async () => {
  using softHsm = new SoftHsm()
  const faults = new Faults(softHsm, 'hsm-a')
  const hsm = softHsm.addToken('web').hsmOptions(faults.options)
  faults.set('* reboot 7')

  const { key } = await generateKey(hsm, { type: 'p-256', label: 'www', id: '01' })
  await generateKey(hsm, { type: 'aes-256', label: 'tickets', id: '02' })
  await destroyKey(hsm, exactName(key))

  expect((await readToken(hsm)).keys.map(({ label }) => label)).toEqual(['tickets'])
})

// C_GetTokenInfo of SoftHSM fails in the instant in which any other process logs in.
test('what was made or destroyed is told, whatever the token says of itself afterwards', async () => {
  using softHsm = new SoftHsm()
  const faults = new Faults(softHsm, 'hsm-a')
  const hsm = softHsm.addToken('web').hsmOptions(faults.options)
  // Each process may look for the token, and at its flags before the login.
  faults.set('C_GetTokenInfo rv CKR_GENERAL_ERROR after 2')

  const { key, token } = await generateKey(hsm, { type: 'p-256', label: 'www', id: '01' })
  const shown = await readToken(hsm)
  const destroyed = await destroyKey(hsm, exactName(key))

  expect(token).toMatchObject({ label: 'web', manufacturer: 'SoftHSM project' })
  expect(shown).toEqual({ token, keys: [key], more: false })
  expect(destroyed).toMatchObject({ token, key })
})

test('a public half that is gone when its key is destroyed leaves nothing undone and nothing unsaid', async () => {
  using softHsm = new SoftHsm()
  const faults = new Faults(softHsm, 'hsm-a')
  const token = softHsm.addToken('web')
  const hsm = token.hsmOptions(faults.options)
  const [vanishing, staying] = await Promise.all(
    ['01', '02'].map(async (id) => (await generateKey(hsm, { type: 'p-256', label: `www-${id}`, id })).key),
  )

  faults.set('C_DestroyObject rv CKR_OBJECT_HANDLE_INVALID after 1')
  const gone = vanishing && (await destroyKey(hsm, exactName(vanishing)))
  faults.set('C_DestroyObject rv CKR_ACTION_PROHIBITED after 1')
  const half = await failure(staying === undefined ? Promise.reject() : destroyKey(hsm, exactName(staying)))

  expect(gone?.key).toMatchObject({ label: 'www-01' })
  expect(String(half)).toMatch(
    /"www-02", id 02 .*was destroyed, but not its public half: .*CKR_ACTION_PROHIBITED/,
  )
  faults.clear()
  expect((await readToken(hsm)).keys).toEqual([])
})

test('a key that fails its test and cannot be destroyed again is named', async () => {
  using softHsm = new SoftHsm()
  const faults = new Faults(softHsm, 'hsm-a')
  const hsm = softHsm.addToken('web').hsmOptions(faults.options)
  faults.set('C_Sign wrong', 'C_DestroyObject rv CKR_ACTION_PROHIBITED times 1')

  const error = await failure(generateKey(hsm, { type: 'p-256', label: 'www', id: '01' }))

  expect(String(error)).toMatch(
    /does not verify the signature; the key "www", id 01 is still in the token: C_DestroyObject returned CKR_ACTION_PROHIBITED/,
  )
  expect(error).toMatchObject({ code: 'ERR_HSM_BAD_SIGNATURE' })
  faults.clear()
  // What could be destroyed was.
  expect((await readToken(hsm)).keys).toHaveLength(1)
  expect(await failure(proveKey(hsm, { label: 'www', id: null, spki: null }))).toMatchObject({
    message: expect.stringContaining('does not show the public half'),
  })
})

test('of two who make a key of one name at the same moment, not both keep it', async () => {
  using softHsm = new SoftHsm()
  const faults = new Faults(softHsm, 'hsm-a')
  const hsm = softHsm.addToken('web').hsmOptions(faults.options)
  // Long enough for both to have looked.
  faults.set('C_GenerateKeyPair delay 3000000')

  const made = await Promise.allSettled(
    ['01', '02'].map((id) => generateInCluster([hsm], { type: 'p-256', label: 'www', id })),
  )

  faults.clear()
  const refused = made.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
  expect(refused).not.toEqual([])
  for (const error of refused) {
    expect(error).toMatchObject({ code: 'ERR_KEYS_EXISTS' })
    expect(String(error)).toMatch(
      /somebody else has made "www", id 0. .*the one made here was destroyed again/,
    )
  }
  expect((await readToken(hsm)).keys).toHaveLength(2 - refused.length)
})

test('where one way to the key crashes, the next one is taken', async () => {
  using softHsm = new SoftHsm()
  const faults = new Faults(softHsm, 'hsm-a')
  const token = softHsm.addToken('web')
  const [bad, good] = [token.hsmOptions(faults.options), token.hsmOptions({ name: 'hsm-b' })]
  await generateKey(good, { type: 'p-256', label: 'www', id: '01' })
  faults.set('C_OpenSession crash')

  const key = { label: 'www', id: null, spki: null }
  const signed = await onFirst([bad, good], (hsm) => proveKey(hsm, key))
  const refused = await failure(onFirst([bad], (hsm) => proveKey(hsm, key)))

  expect(signed.key.id).toBe('01')
  expect(refused).toMatchObject({ code: 'ERR_TOKEN_CRASHED' })
})

test('a key whose label is no UTF-8 is found by its id, and can be destroyed', async () => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('web')
  // As tools of another decade write it: Latin-1.
  const generate = [
    ...[
      'pkcs11-tool',
      '--module',
      softHsm.module,
      '--token-label',
      token.label,
      '--login',
      '--pin',
      token.pin,
    ],
    ...[
      '--keypairgen',
      '--key-type',
      'EC:prime256v1',
      '--id',
      '0c',
      '--label',
      '"$(printf "M\\374ller-web")"',
    ],
  ]
  await runTool('sh', ['-c', generate.join(' ')], { env: { ...process.env, ...softHsm.env } })
  const hsm = token.hsmOptions()
  const [key] = (await readToken(hsm)).keys
  expect(key).toMatchObject({ label: 'M\ufffdller-web', id: '0c' })

  await destroyKey(hsm, exactName(key ?? { label: '', id: '', spki: null }))

  expect((await readToken(hsm)).keys).toEqual([])
})

async function failure(work: Promise<unknown>): Promise<unknown> {
  try {
    return { unexpected: await work }
  } catch (error) {
    return error
  }
}

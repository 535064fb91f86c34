// @ts-check
/**
 * The development token: a SoftHSM token of its own, and keys that are generated inside it and cannot leave.
 *
 * SoftHSM reads SOFTHSM2_CONF when it is initialised, so only one token is open at a time in a process. Long because it is made
 * without the build: what `src/keys` does for users stands here once more, for the few keys of the set-up.
 */

import { createPublicKey, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import forge from 'node-forge'
import pkcs11 from 'pkcs11js'

const { asn1 } = forge

export const TOKEN_LABEL = 'sealgate-dev'

/**
 * @typedef {object} KeyRequest
 * @property {string} label CKA_LABEL
 * @property {number} id CKA_ID, one byte
 * @property {'ec' | 'rsa' | 'aes'} type EC P-256, RSA-2048 or AES-256
 */

/**
 * Makes a token with freshly generated keys. It is built beside its place and moved there when it is complete:
 * a set-up that is killed half-way leaves nothing that looks like a token.
 *
 * @param {object} options
 * @param {string} options.module path of the PKCS#11 module
 * @param {string} options.tokens folder to make
 * @param {string} options.pin
 * @param {readonly KeyRequest[]} options.keys
 */
export function makeToken({ module, tokens, pin, keys }) {
  const building = `${tokens}.building-${process.pid}`
  rmSync(building, { recursive: true, force: true })
  mkdirSync(building, { recursive: true, mode: 0o700 })
  try {
    const conf = join(building, 'softhsm2.conf')
    writeFileSync(conf, softhsmConf(building))
    withModule({ module, conf }, (p11) => {
      initializeToken(p11, pin)
      withLogin(p11, pin, (session) => {
        for (const key of keys) generate(p11, session, key)
      })
    })
    rmSync(conf)
    moveUnlessThere(building, tokens)
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
}

/**
 * Of two set-ups at the same time the second takes the first one's token.
 *
 * @param {string} from folder
 * @param {string} to folder
 */
function moveUnlessThere(from, to) {
  try {
    renameSync(from, to)
  } catch (error) {
    if (!existsSync(to)) throw error
  }
}

/**
 * The content of a SOFTHSM2_CONF.
 *
 * @param {string} tokens absolute path
 */
export function softhsmConf(tokens) {
  return `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n`
}

/**
 * A token that is open and logged in to.
 *
 * @typedef {object} OpenToken
 * @property {(key: KeyRequest) => void} generateUnlessThere
 * @property {(label: string) => import('node:crypto').KeyObject} publicKey
 * @property {(label: string, digest: Buffer) => Buffer} signEcdsa signs with an EC key; DER Ecdsa-Sig-Value
 */

/**
 * Opens the token for as long as `use` runs.
 *
 * SoftHSM writes its token anew at every login of any process, and who opens it at that instant finds no token, or fails to
 * log in before the PIN was looked at: that is tried again. A PIN that was refused is not.
 *
 * @template T
 * @param {{ module: string, conf: string, pin: string }} options
 * @param {(token: OpenToken) => T} use synchronous
 * @returns {T}
 */
export function withToken(options, use) {
  const deadlineMs = performance.now() + OPENING_LIMIT_MS
  for (;;) {
    let isOpen = false
    try {
      return withOpenToken(options, (token) => {
        isOpen = true
        return use(token)
      })
    } catch (error) {
      if (isOpen || !mayPass(error) || performance.now() > deadlineMs) throw error
      sleep(OPENING_PAUSE_MS)
    }
  }
}

/**
 * @template T
 * @param {{ module: string, conf: string, pin: string }} options
 * @param {(token: OpenToken) => T} use
 * @returns {T}
 */
function withOpenToken({ module, conf, pin }, use) {
  return withModule({ module, conf }, (p11) =>
    withLogin(p11, pin, (session) =>
      use({
        generateUnlessThere: (key) => {
          const kind = key.type === 'aes' ? pkcs11.CKO_SECRET_KEY : pkcs11.CKO_PRIVATE_KEY
          if (!hasObject(p11, session, kind, key.label)) generate(p11, session, key)
        },
        publicKey: (label) => publicKey(p11, session, label),
        signEcdsa: (label, digest) => signEcdsa(p11, session, label, digest),
      }),
    ),
  )
}

/** @param {unknown} error of an opening */
function mayPass(error) {
  if (error instanceof NoToken) return true
  const passing = [pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_USER_PIN_NOT_INITIALIZED]
  return error instanceof pkcs11.Pkcs11Error && passing.includes(error.code)
}

/** @param {number} ms */
function sleep(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

class NoToken extends Error {}

/**
 * @template T
 * @param {{ module: string, conf: string }} options
 * @param {(p11: import('pkcs11js').PKCS11) => T} use
 * @returns {T}
 */
function withModule({ module, conf }, use) {
  const before = process.env['SOFTHSM2_CONF']
  process.env['SOFTHSM2_CONF'] = conf
  const p11 = new pkcs11.PKCS11()
  p11.load(module)
  try {
    p11.C_Initialize({ flags: pkcs11.CKF_OS_LOCKING_OK })
    try {
      return use(p11)
    } finally {
      p11.C_Finalize()
    }
  } finally {
    p11.close()
    if (before === undefined) delete process.env['SOFTHSM2_CONF']
    else process.env['SOFTHSM2_CONF'] = before
  }
}

/**
 * @template T
 * @param {import('pkcs11js').PKCS11} p11
 * @param {string} pin
 * @param {(session: Buffer) => T} use
 * @returns {T}
 */
function withLogin(p11, pin, use) {
  const session = p11.C_OpenSession(findToken(p11), SESSION_FLAGS)
  p11.C_Login(session, pkcs11.CKU_USER, pin)
  return use(session)
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {string} pin
 */
function initializeToken(p11, pin) {
  const [slot] = p11.C_GetSlotList(true)
  if (slot === undefined) throw new Error('SoftHSM has no slot for a new token')
  // The security officer's PIN is for resetting the user's; nobody needs that here, so nobody gets it.
  const officerPin = randomBytes(24).toString('base64url')
  p11.C_InitToken(slot, officerPin, TOKEN_LABEL.padEnd(LABEL_BYTES))
  const session = p11.C_OpenSession(findToken(p11), SESSION_FLAGS)
  p11.C_Login(session, pkcs11.CKU_SO, officerPin)
  p11.C_InitPIN(session, pin)
  p11.C_Logout(session)
  p11.C_CloseSession(session)
}

/** @param {import('pkcs11js').PKCS11} p11 */
function findToken(p11) {
  const slot = p11
    .C_GetSlotList(true)
    .find((slot) => p11.C_GetTokenInfo(slot).label.trimEnd() === TOKEN_LABEL)
  if (slot === undefined) throw new NoToken(`there is no token "${TOKEN_LABEL}"`)
  return slot
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {Buffer} session
 * @param {KeyRequest} key
 */
function generate(p11, session, key) {
  if (key.type === 'aes') return generateSecretKey(p11, session, key)
  const { mechanism, parameters } = KEY_TYPES[key.type]
  const common = [
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_LABEL, value: key.label },
    { type: pkcs11.CKA_ID, value: Buffer.of(key.id) },
  ]
  p11.C_GenerateKeyPair(
    session,
    { mechanism },
    [
      ...common,
      ...parameters,
      { type: pkcs11.CKA_VERIFY, value: true },
      { type: pkcs11.CKA_ENCRYPT, value: false },
      { type: pkcs11.CKA_WRAP, value: false },
    ],
    [
      ...common,
      { type: pkcs11.CKA_PRIVATE, value: true },
      { type: pkcs11.CKA_SENSITIVE, value: true },
      { type: pkcs11.CKA_EXTRACTABLE, value: false },
      { type: pkcs11.CKA_SIGN, value: true },
      { type: pkcs11.CKA_DECRYPT, value: false },
      { type: pkcs11.CKA_UNWRAP, value: false },
      { type: pkcs11.CKA_DERIVE, value: false },
    ],
  )
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {Buffer} session
 * @param {KeyRequest} key
 */
function generateSecretKey(p11, session, { label, id }) {
  p11.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_LABEL, value: label },
    { type: pkcs11.CKA_ID, value: Buffer.of(id) },
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
    { type: pkcs11.CKA_PRIVATE, value: true },
    { type: pkcs11.CKA_SENSITIVE, value: true },
    { type: pkcs11.CKA_EXTRACTABLE, value: false },
    { type: pkcs11.CKA_ENCRYPT, value: true },
    { type: pkcs11.CKA_DECRYPT, value: true },
    { type: pkcs11.CKA_SIGN, value: false },
    { type: pkcs11.CKA_WRAP, value: false },
    { type: pkcs11.CKA_UNWRAP, value: false },
  ])
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {Buffer} session
 * @param {string} label
 */
function publicKey(p11, session, label) {
  const handle = findObject(p11, session, pkcs11.CKO_PUBLIC_KEY, label)
  const type = attribute(p11, session, handle, pkcs11.CKA_KEY_TYPE).readUInt8(0)
  if (type === pkcs11.CKK_EC) {
    // CKA_EC_POINT: a DER OCTET STRING around 0x04 ‖ x ‖ y. P-256, so its header has two bytes.
    const point = attribute(p11, session, handle, pkcs11.CKA_EC_POINT).subarray(2)
    const x = point.subarray(1, 33).toString('base64url')
    const y = point.subarray(33).toString('base64url')
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' })
  }
  const n = attribute(p11, session, handle, pkcs11.CKA_MODULUS).toString('base64url')
  const e = attribute(p11, session, handle, pkcs11.CKA_PUBLIC_EXPONENT).toString('base64url')
  return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' })
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {Buffer} session
 * @param {string} label
 * @param {Buffer} digest
 */
function signEcdsa(p11, session, label, digest) {
  const handle = findObject(p11, session, pkcs11.CKO_PRIVATE_KEY, label)
  p11.C_SignInit(session, { mechanism: pkcs11.CKM_ECDSA }, handle)
  const raw = p11.C_Sign(session, digest, Buffer.alloc(MAX_SIGNATURE_BYTES))
  const half = raw.length / 2
  const sequence = asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, [
    derInteger(raw.subarray(0, half)),
    derInteger(raw.subarray(half)),
  ])
  return Buffer.from(asn1.toDer(sequence).getBytes(), 'binary')
}

/**
 * @param {Buffer} unsigned big-endian, may begin with zeros
 */
function derInteger(unsigned) {
  const start = unsigned.findIndex((byte) => byte !== 0)
  const significant = unsigned.subarray(start)
  const positive = (significant[0] ?? 0) < 0x80 ? significant : Buffer.concat([Buffer.of(0), significant])
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.INTEGER, false, positive.toString('binary'))
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {Buffer} session
 * @param {number} objectClass
 * @param {string} label
 */
function findObject(p11, session, objectClass, label) {
  const [handle] = findObjects(p11, session, objectClass, label)
  if (handle === undefined) throw new Error(`the token has no key "${label}"`)
  return handle
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {Buffer} session
 * @param {number} objectClass
 * @param {string} label
 */
function hasObject(p11, session, objectClass, label) {
  return findObjects(p11, session, objectClass, label).length > 0
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {Buffer} session
 * @param {number} objectClass
 * @param {string} label
 */
function findObjects(p11, session, objectClass, label) {
  p11.C_FindObjectsInit(session, [
    { type: pkcs11.CKA_CLASS, value: objectClass },
    { type: pkcs11.CKA_LABEL, value: label },
  ])
  const handles = p11.C_FindObjects(session, 1)
  p11.C_FindObjectsFinal(session)
  return handles
}

/**
 * @param {import('pkcs11js').PKCS11} p11
 * @param {Buffer} session
 * @param {Buffer} handle
 * @param {number} type
 */
function attribute(p11, session, handle, type) {
  const [found] = p11.C_GetAttributeValue(session, handle, [{ type }])
  if (!Buffer.isBuffer(found?.value)) throw new Error(`the token does not give attribute ${type}`)
  return found.value
}

const OPENING_LIMIT_MS = 2_000
const OPENING_PAUSE_MS = 20
/** PKCS#11 v3.1, CK_TOKEN_INFO: blank-padded. */
const LABEL_BYTES = 32
const SESSION_FLAGS = pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION
/** Raw r ‖ s of the largest curve there is, P-521. */
const MAX_SIGNATURE_BYTES = 132
/** OBJECT IDENTIFIER prime256v1, RFC 5480 §2.1.1.1. */
const PRIME256V1 = Buffer.from('06082a8648ce3d030107', 'hex')

const KEY_TYPES = {
  ec: {
    mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN,
    parameters: [{ type: pkcs11.CKA_EC_PARAMS, value: PRIME256V1 }],
  },
  rsa: {
    mechanism: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
    parameters: [
      { type: pkcs11.CKA_MODULUS_BITS, value: 2048 },
      { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.of(1, 0, 1) },
    ],
  },
}

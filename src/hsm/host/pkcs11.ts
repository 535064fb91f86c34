/**
 * The one file that loads pkcs11js. Calls go through unchanged; what they throw becomes a Pkcs11Error with the
 * return value as a number, so that nobody else has to read it out of a text. As long as the list of calls that are used.
 */

import { createRequire } from 'node:module'
import { constants } from 'node:os'

import type {
  Attribute,
  Handle,
  KeyPair,
  Mechanism,
  MechanismInfo,
  ModuleInfo,
  RsaPSS as RsaPssParameters,
  Template,
  TokenInfo,
} from 'pkcs11js'

import { returnValue } from '../ckr.ts'

// CommonJS without analysable exports: an import would see only its default.
const binding: typeof import('pkcs11js') = createRequire(import.meta.url)('pkcs11js')

export type { Handle, Mechanism, MechanismInfo, ModuleInfo, RsaPssParameters, Template, TokenInfo }

/** A PKCS#11 function returned something else than CKR_OK. */
export class Pkcs11Error extends Error {
  override readonly name = 'Pkcs11Error'
  readonly rv: number
  readonly call: string

  constructor(call: string, rv: number) {
    super(`${call} returned ${returnValue(rv).name}`)
    this.call = call
    this.rv = rv
  }
}

/** The module could not be loaded; the message is the dynamic linker's. */
export class ModuleLoadError extends Error {
  override readonly name = 'ModuleLoadError'
}

let announce: ((call: string) => void) | undefined

/**
 * For whoever has to say which call never returned, or ended the process: gets the name of each function just before
 * it is called, on the same thread; not those of `signAsync`.
 */
export function announceCalls(listener: (call: string) => void): void {
  announce = listener
}

/**
 * One PKCS#11 module. All calls block the thread, except `signAsync`.
 *
 * @throws {Pkcs11Error} from every method when the module returns an error.
 */
export class Pkcs11Module {
  readonly #pkcs11 = new binding.PKCS11()

  /** @throws {ModuleLoadError} */
  constructor(path: string) {
    isolate(path)
    try {
      this.#pkcs11.load(path)
    } catch (cause) {
      throw new ModuleLoadError(cause instanceof Error ? cause.message : String(cause), { cause })
    }
  }

  /**
   * @param parameters a text for where CK_C_INITIALIZE_ARGS has pReserved. The standard wants nothing there; modules
   *   that cannot be told otherwise where their keys are (NSS) read it nevertheless.
   */
  initialize(parameters: string | null): void {
    const flags = binding.CKF_OS_LOCKING_OK
    // pkcs11js 2.1.7 counts the final NUL into the text's length, and so cuts off its last character: a blank.
    const options = parameters === null ? { flags } : { flags, libraryParameters: `${parameters} ` }
    call('C_Initialize', () => this.#pkcs11.C_Initialize(options))
  }

  finalize(): void {
    call('C_Finalize', () => this.#pkcs11.C_Finalize())
  }

  info(): ModuleInfo {
    return call('C_GetInfo', () => this.#pkcs11.C_GetInfo())
  }

  slotsWithToken(): readonly Handle[] {
    return call('C_GetSlotList', () => this.#pkcs11.C_GetSlotList(true))
  }

  /** Empty ones too. */
  slots(): readonly Handle[] {
    return call('C_GetSlotList', () => this.#pkcs11.C_GetSlotList(false))
  }

  tokenInfo(slot: Handle): TokenInfo {
    return call('C_GetTokenInfo', () => this.#pkcs11.C_GetTokenInfo(slot))
  }

  mechanisms(slot: Handle): ReadonlySet<number> {
    return new Set(call('C_GetMechanismList', () => this.#pkcs11.C_GetMechanismList(slot)))
  }

  mechanismInfo(slot: Handle, mechanism: number): MechanismInfo {
    return call('C_GetMechanismInfo', () => this.#pkcs11.C_GetMechanismInfo(slot, mechanism))
  }

  /** Read-write and serial: some HSMs refuse read-only sessions, and the standard all parallel ones. */
  openSession(slot: Handle): Handle {
    const flags = binding.CKF_SERIAL_SESSION | binding.CKF_RW_SESSION
    return call('C_OpenSession', () => this.#pkcs11.C_OpenSession(slot, flags))
  }

  closeSession(session: Handle): void {
    call('C_CloseSession', () => this.#pkcs11.C_CloseSession(session))
  }

  closeAllSessions(slot: Handle): void {
    call('C_CloseAllSessions', () => this.#pkcs11.C_CloseAllSessions(slot))
  }

  /** Does the token take this session for one of a user who is logged in? */
  isUserSession(session: Handle): boolean {
    const { state } = call('C_GetSessionInfo', () => this.#pkcs11.C_GetSessionInfo(session))
    return state === CKS_RO_USER_FUNCTIONS || state === CKS_RW_USER_FUNCTIONS
  }

  login(session: Handle, userType: number, pin: string): void {
    call('C_Login', () => this.#pkcs11.C_Login(session, userType, pin))
  }

  /** Handles of the objects that match, at most `max`. */
  findObjects(session: Handle, template: Template, max: number): readonly Handle[] {
    call('C_FindObjectsInit', () => this.#pkcs11.C_FindObjectsInit(session, template))
    try {
      return call('C_FindObjects', () => this.#pkcs11.C_FindObjects(session, max))
    } finally {
      call('C_FindObjectsFinal', () => this.#pkcs11.C_FindObjectsFinal(session))
    }
  }

  /** undefined: the object has no such attribute, or keeps it to itself. */
  attribute(session: Handle, object: Handle, type: number): Buffer | undefined {
    try {
      return this.readAttribute(session, object, type)
    } catch {
      return undefined
    }
  }

  /** The same, and whoever asks learns why there is no value. @returns undefined: an empty one. */
  readAttribute(session: Handle, object: Handle, type: number): Buffer | undefined {
    const template: Attribute[] = [{ type }]
    const value = call(
      'C_GetAttributeValue',
      () => this.#pkcs11.C_GetAttributeValue(session, object, template)[0]?.value,
    )
    return Buffer.isBuffer(value) && value.length > 0 ? value : undefined
  }

  signInit(session: Handle, mechanism: Mechanism, key: Handle): void {
    // Without the helper and its closure: this is called for every handshake.
    announce?.('C_SignInit')
    try {
      this.#pkcs11.C_SignInit(session, mechanism, key)
    } catch (error) {
      throw convert('C_SignInit', error)
    }
  }

  /** Blocks until signed. @returns the length of the signature, which is at the start of `output`. */
  sign(session: Handle, input: Buffer, output: Buffer): number {
    announce?.('C_Sign')
    try {
      return this.#pkcs11.C_Sign(session, input, output).length
    } catch (error) {
      throw convert('C_Sign', error)
    }
  }

  /**
   * Signs on a thread of libuv's pool.
   *
   * Both buffers belong to the module until the callback: pkcs11js keeps raw pointers into them and no reference.
   */
  signAsync(
    session: Handle,
    input: Buffer,
    output: Buffer,
    done: (error: Pkcs11Error | undefined, signatureBytes: number) => void,
  ): void {
    this.#pkcs11.C_Sign(session, input, output, (error: Error | null, signature: Buffer | null) => {
      if (signature === null) done(convert('C_Sign', error), 0)
      else done(undefined, signature.length)
    })
  }

  /**
   * CKM_AES_GCM in one part, tag of 128 bits at the end.
   *
   * @param parameters.iv written to by modules that choose their own.
   * @returns what the module has put out, which may be followed by its own IV.
   */
  encryptGcm(session: Handle, key: Handle, parameters: GcmParameters, data: Buffer): Buffer {
    call('C_EncryptInit', () => this.#pkcs11.C_EncryptInit(session, gcm(parameters), key))
    const output = Buffer.allocUnsafeSlow(data.length + GCM_OVERHEAD_BYTES)
    return call('C_Encrypt', () => this.#pkcs11.C_Encrypt(session, data, output))
  }

  /** The other way round. @returns a buffer of its own. */
  decryptGcm(session: Handle, key: Handle, parameters: GcmParameters, data: Buffer): Buffer {
    call('C_DecryptInit', () => this.#pkcs11.C_DecryptInit(session, gcm(parameters), key))
    const output = Buffer.allocUnsafeSlow(data.length)
    return call('C_Decrypt', () => this.#pkcs11.C_Decrypt(session, data, output))
  }

  /** In the token, when the templates say CKA_TOKEN. Blocks for as long as the HSM needs: RSA takes seconds. */
  generateKeyPair(
    session: Handle,
    mechanism: Mechanism,
    templates: { readonly publicKey: Template; readonly privateKey: Template },
  ): KeyPair {
    return call('C_GenerateKeyPair', () =>
      this.#pkcs11.C_GenerateKeyPair(session, mechanism, templates.publicKey, templates.privateKey),
    )
  }

  /** A secret key. */
  generateKey(session: Handle, mechanism: Mechanism, template: Template): Handle {
    return call('C_GenerateKey', () => this.#pkcs11.C_GenerateKey(session, mechanism, template))
  }

  destroyObject(session: Handle, object: Handle): void {
    call('C_DestroyObject', () => this.#pkcs11.C_DestroyObject(session, object))
  }
}

/**
 * Maps the module so that it binds to its own libcrypto.
 *
 * Node exports all of its OpenSSL, and a plain dlopen resolves a module's OpenSSL calls to that one first: another
 * version, with other structures, ends in crashes inside C_Sign. RTLD_DEEPBIND turns the order around, and
 * RTLD_NODELETE keeps the mapping although Node finds no addon in it; pkcs11js then gets the same mapping. Where there
 * is no RTLD_DEEPBIND (musl, macOS) nothing happens.
 */
function isolate(path: string): void {
  const { RTLD_LAZY, RTLD_DEEPBIND } = constants.dlopen
  if (RTLD_DEEPBIND === undefined) return
  try {
    process.dlopen({ exports: {} }, path, RTLD_LAZY | RTLD_DEEPBIND | RTLD_NODELETE)
  } catch {
    // "Module did not self-register", as it should be; if it did not load, pkcs11js says so in a moment.
  }
}

export interface GcmParameters {
  readonly iv: Buffer
  /** Authenticated, not encrypted. */
  readonly header: Buffer
}

function gcm({ iv, header }: GcmParameters): Mechanism {
  const parameter = { type: binding.CK_PARAMS_GCM, iv, ivBits: iv.length * 8, aad: header, tagBits: 128 }
  return { mechanism: binding.CKM_AES_GCM, parameter }
}

// The tag, and an IV that the module adds.
const GCM_OVERHEAD_BYTES = 16 + 16
// From glibc's <dlfcn.h>; Node has no name for it.
const RTLD_NODELETE = 0x1000

function call<T>(name: string, run: () => T): T {
  announce?.(name)
  try {
    return run()
  } catch (error) {
    throw convert(name, error)
  }
}

/**
 * pkcs11js puts the return value into `code`; 0 there means that it never got as far as a return value. Version 2.1.7
 * forgets to in C_FindObjects, and has it in the message only: `CKR_DEVICE_ERROR:48`.
 */
function convert(name: string, error: unknown): Pkcs11Error {
  if (!(error instanceof Error)) throw error
  const code = 'code' in error ? error.code : Number(/^\w+:(\d+)$/.exec(error.message)?.[1])
  if (typeof code === 'number' && code > 0) return new Pkcs11Error(name, code)
  throw error
}

// PKCS#11 v3.1, CK_STATE; the binding has no names for them.
const CKS_RO_USER_FUNCTIONS = 1
const CKS_RW_USER_FUNCTIONS = 3

/** The constants that Sealgate needs, by their PKCS#11 names. */
export const CK = {
  CKA_CLASS: binding.CKA_CLASS,
  CKA_ID: binding.CKA_ID,
  CKA_KEY_TYPE: binding.CKA_KEY_TYPE,
  CKA_LABEL: binding.CKA_LABEL,
  CKA_MODULUS: binding.CKA_MODULUS,
  CKA_EC_POINT: binding.CKA_EC_POINT,
  CKA_ALWAYS_AUTHENTICATE: binding.CKA_ALWAYS_AUTHENTICATE,
  CKA_TOKEN: binding.CKA_TOKEN,
  CKA_PRIVATE: binding.CKA_PRIVATE,
  CKA_SENSITIVE: binding.CKA_SENSITIVE,
  CKA_ALWAYS_SENSITIVE: binding.CKA_ALWAYS_SENSITIVE,
  CKA_EXTRACTABLE: binding.CKA_EXTRACTABLE,
  CKA_NEVER_EXTRACTABLE: binding.CKA_NEVER_EXTRACTABLE,
  CKA_LOCAL: binding.CKA_LOCAL,
  CKA_SIGN: binding.CKA_SIGN,
  CKA_SIGN_RECOVER: binding.CKA_SIGN_RECOVER,
  CKA_VERIFY: binding.CKA_VERIFY,
  CKA_ENCRYPT: binding.CKA_ENCRYPT,
  CKA_DECRYPT: binding.CKA_DECRYPT,
  CKA_WRAP: binding.CKA_WRAP,
  CKA_UNWRAP: binding.CKA_UNWRAP,
  CKA_DERIVE: binding.CKA_DERIVE,
  CKA_MODULUS_BITS: binding.CKA_MODULUS_BITS,
  CKA_PUBLIC_EXPONENT: binding.CKA_PUBLIC_EXPONENT,
  CKA_EC_PARAMS: binding.CKA_EC_PARAMS,
  CKA_VALUE_LEN: binding.CKA_VALUE_LEN,
  CKO_PRIVATE_KEY: binding.CKO_PRIVATE_KEY,
  CKO_PUBLIC_KEY: binding.CKO_PUBLIC_KEY,
  CKO_SECRET_KEY: binding.CKO_SECRET_KEY,
  CKU_CONTEXT_SPECIFIC: binding.CKU_CONTEXT_SPECIFIC,
  CKF_LOGIN_REQUIRED: binding.CKF_LOGIN_REQUIRED,
  CKF_TOKEN_INITIALIZED: binding.CKF_TOKEN_INITIALIZED,
  CKF_USER_PIN_INITIALIZED: binding.CKF_USER_PIN_INITIALIZED,
  CKF_USER_PIN_COUNT_LOW: binding.CKF_USER_PIN_COUNT_LOW,
  CKF_USER_PIN_FINAL_TRY: binding.CKF_USER_PIN_FINAL_TRY,
  CKF_USER_PIN_LOCKED: binding.CKF_USER_PIN_LOCKED,
  CK_PARAMS_RSA_PSS: binding.CK_PARAMS_RSA_PSS,
  CKM_AES_GCM: binding.CKM_AES_GCM,
} as const

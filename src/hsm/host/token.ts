/** Opens the module, finds the token and logs in: once per life of the host, with at most one C_Login. */

import { CKR, returnValue } from '../ckr.ts'
import type { ConfigureMessage } from '../messages.ts'
import type { HsmOptions } from '../options.ts'
import { readPin } from './pin.ts'
import { CK, type Handle, ModuleLoadError, Pkcs11Error, Pkcs11Module, type TokenInfo } from './pkcs11.ts'
import { Problem } from './problem.ts'

export interface Token {
  readonly module: Pkcs11Module
  readonly slot: Handle
  readonly label: string
  readonly serial: string
  /** Logged in, kept open as long as the host lives (the login ends with the last session), never signs. */
  readonly session: Handle
  readonly mechanisms: ReadonlySet<number>
  /** Sessions that may be opened for signing. */
  readonly sessionLimit: number
  /** For keys that want a login per signature (CKA_ALWAYS_AUTHENTICATE). */
  readonly reveal: () => string
}

/** @throws {Problem | Pkcs11Error} */
export function openToken(options: ConfigureMessage): Token {
  const module = loadModule(options.module)
  const { slot, info } = findSlot(module, options)
  const session = module.openSession(slot)
  const pin = readPin(options.pin)
  login(module, { session, slot, pin, options })
  return {
    module,
    slot,
    label: info.label.trimEnd(),
    serial: info.serialNumber.trimEnd(),
    session,
    mechanisms: module.mechanisms(slot),
    sessionLimit: sessionLimit(options.sessions, info),
    reveal: () => pin,
  }
}

function loadModule(path: string): Pkcs11Module {
  try {
    const module = new Pkcs11Module(path)
    module.initialize()
    return module
  } catch (cause) {
    if (cause instanceof ModuleLoadError) {
      const cure = `is it a PKCS#11 module for this machine, and are its libraries there (ldd ${path})?`
      throw new Problem('ERR_HSM_MODULE', `the PKCS#11 module does not load: ${cause.message}; ${cure}`, {
        cause,
      })
    }
    if (cause instanceof Pkcs11Error) {
      throw new Problem('ERR_HSM_MODULE', `the PKCS#11 module ${path} does not start: ${cause.message}`, {
        cause,
      })
    }
    throw cause
  }
}

function findSlot(module: Pkcs11Module, options: ConfigureMessage): { slot: Handle; info: TokenInfo } {
  const seen: string[] = []
  for (const slot of module.slotsWithToken()) {
    const info = module.tokenInfo(slot)
    if (matches(options.token, slot, info)) return { slot, info }
    if ((info.flags & CK.CKF_TOKEN_INITIALIZED) === 0) continue // SoftHSM shows one more slot, for a new token
    seen.push(`"${info.label.trimEnd()}" (serial ${info.serialNumber.trimEnd()}, slot ${handleNumber(slot)})`)
  }
  const wanted = Object.entries(options.token).map(([key, value]) => `${key} ${JSON.stringify(value)}`)
  throw new Problem(
    'ERR_HSM_TOKEN_NOT_FOUND',
    `no token with ${wanted.join()}; ${options.module} shows ${seen.length === 0 ? 'no token at all' : seen.join(', ')}`,
  )
}

function matches(wanted: HsmOptions['token'], slot: Handle, info: TokenInfo): boolean {
  if ('label' in wanted) return info.label.trimEnd() === wanted.label
  if ('serial' in wanted) return info.serialNumber.trimEnd() === wanted.serial
  return handleNumber(slot) === wanted.slot
}

/** A CK_ULONG in the machine's own layout; all supported machines are little-endian. */
function handleNumber(handle: Handle): number {
  return handle.length === 8 ? Number(handle.readBigUInt64LE()) : handle.readUInt32LE()
}

/**
 * A wrong PIN counts against the token's limit, and a token that has locked itself needs the security officer.
 * So: never on the last try, never twice, and CKR_PIN_* is the end of this member.
 */
function login(
  module: Pkcs11Module,
  facts: { session: Handle; slot: Handle; pin: string; options: ConfigureMessage },
): void {
  const flags = module.tokenInfo(facts.slot).flags
  if ((flags & CK.CKF_LOGIN_REQUIRED) === 0) return
  if ((flags & CK.CKF_USER_PIN_LOCKED) !== 0) {
    throw new Problem('ERR_HSM_PIN', 'the PIN is locked; the security officer has to unlock it', {
      final: true,
    })
  }
  if ((flags & CK.CKF_USER_PIN_FINAL_TRY) !== 0) {
    const message =
      'one PIN try is left, so the login was not attempted; log in once by hand with the right PIN, then restart'
    throw new Problem('ERR_HSM_PIN', message, { final: true })
  }
  try {
    module.login(facts.session, facts.options.userType, facts.pin)
  } catch (cause) {
    if (!(cause instanceof Pkcs11Error)) throw cause
    if (cause.rv === CKR.USER_ALREADY_LOGGED_IN) return
    const { name, code, action } = returnValue(cause.rv)
    if (action !== 'stop') throw cause
    const source =
      'file' in facts.options.pin ? `file ${facts.options.pin.file}` : `variable ${facts.options.pin.env}`
    throw new Problem(
      code,
      `the token refused the PIN from ${source} (${name}); it was tried once and will not be tried again`,
      { cause, final: true },
    )
  }
}

/** The token's own limit less the login session; 0 and CK_UNAVAILABLE_INFORMATION mean no limit is known. */
function sessionLimit(configured: number, info: TokenInfo): number {
  const limits = [info.maxSessionCount, info.maxRwSessionCount].filter(
    (limit) => limit > 0 && limit < 0xffff_ffff,
  )
  return Math.max(1, Math.min(configured, ...limits.map((limit) => limit - 1)))
}

/** The token: loading and starting its module, finding it, keeping a session that holds the login. */

import { CKR } from '../ckr.ts'
import type { ConfigureMessage } from '../messages.ts'
import type { HsmOptions } from '../options.ts'
import type { Login } from './login.ts'
import { CK, type Handle, ModuleLoadError, Pkcs11Error, Pkcs11Module, type TokenInfo } from './pkcs11.ts'
import { Problem } from './problem.ts'

/** Where a token is found. */
export type TokenPlace = Pick<ConfigureMessage, 'module' | 'initialize' | 'token' | 'sessions'>

export interface Token {
  readonly module: Pkcs11Module
  readonly slot: Handle
  readonly label: string
  readonly serial: string
  readonly manufacturer: string
  readonly model: string
  /** Logged in, kept open as long as it works (the login ends with the last session), never signs. */
  readonly session: Handle
  readonly mechanisms: ReadonlySet<number>
  /** Sessions that may be opened for signing. */
  readonly sessionLimit: number
}

/** @throws {Problem} */
export function loadModule(path: string): Pkcs11Module {
  try {
    return new Pkcs11Module(path)
  } catch (cause) {
    if (!(cause instanceof ModuleLoadError)) throw cause
    const cure = `is it a PKCS#11 module for this machine, and are its libraries there (ldd ${path})?`
    throw new Problem('ERR_HSM_MODULE', `the PKCS#11 module does not load: ${cause.message}; ${cure}`, {
      cause,
    })
  }
}

/** Starts the module, finds the token, logs in. @throws {Problem | Pkcs11Error} */
export function openToken(module: Pkcs11Module, options: TokenPlace, login: Pick<Login, 'perform'>): Token {
  const wasRunning = startModule(module, options)
  const { slot, info } = findSlot(module, options)
  // Its C_Finalize failed: what was open before it still is.
  if (wasRunning) module.closeAllSessions(slot)
  const session = module.openSession(slot)
  login.perform(module, slot, session)
  return {
    module,
    slot,
    label: info.label.trimEnd(),
    serial: info.serialNumber.trimEnd(),
    manufacturer: info.manufacturerID.trimEnd(),
    model: info.model.trimEnd(),
    session,
    mechanisms: module.mechanisms(slot),
    sessionLimit: sessionLimit(options.sessions, info),
  }
}

/** The same token with a fresh session to hold the login; the old one is closed. @throws {Pkcs11Error} */
export function renewSession(token: Token): Token {
  const session = token.module.openSession(token.slot)
  try {
    // Not before: the login ends with the last session.
    token.module.closeSession(token.session)
  } catch {
    // It was of no use any more; that is why there is a new one.
  }
  return { ...token, session }
}

/** @returns true when it was running already. @throws {Problem} */
function startModule(module: Pkcs11Module, { module: path, initialize }: TokenPlace): boolean {
  try {
    module.initialize(initialize)
    return false
  } catch (cause) {
    if (!(cause instanceof Pkcs11Error)) throw cause
    if (cause.rv === CKR.CRYPTOKI_ALREADY_INITIALIZED) return true
    throw new Problem(
      'ERR_HSM_MODULE',
      `the PKCS#11 module ${path} does not start: ${cause.message}${parametersHint(cause.rv, initialize)}`,
      { cause },
    )
  }
}

/** The only arguments of C_Initialize that are not the same for every module. */
function parametersHint(rv: number, initialize: string | null): string {
  if (initialize !== null) return `; "initialize" told it ${initialize}`
  return rv === CKR.ARGUMENTS_BAD ? '; must it be told where its keys are? That goes into "initialize"' : ''
}

function findSlot(module: Pkcs11Module, options: TokenPlace): { slot: Handle; info: TokenInfo } {
  const seen: string[] = []
  for (const slot of module.slotsWithToken()) {
    const info = module.tokenInfo(slot)
    if (matches(options.token, slot, info)) return { slot, info }
    if ((info.flags & CK.CKF_TOKEN_INITIALIZED) === 0) continue // SoftHSM shows one more slot, for a new token
    seen.push(`"${info.label.trimEnd()}" (serial ${info.serialNumber.trimEnd()}, slot ${handleNumber(slot)})`)
  }
  const wanted = Object.entries(options.token).map(([key, value]) => `${key} ${JSON.stringify(value)}`)
  const shown =
    seen.length > 0
      ? seen.join(', ')
      : 'no token at all: is what it connects to there, and has it its settings ("env", "initialize")?'
  throw new Problem(
    'ERR_HSM_TOKEN_NOT_FOUND',
    `no token with ${wanted.join()}; ${options.module} shows ${shown}`,
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

/** The token's own limit less the login session; 0 and CK_UNAVAILABLE_INFORMATION mean no limit is known. */
function sessionLimit(configured: number, info: TokenInfo): number {
  const limits = [info.maxSessionCount, info.maxRwSessionCount].filter(
    (limit) => limit > 0 && limit < 0xffff_ffff,
  )
  return Math.max(1, Math.min(configured, ...limits.map((limit) => limit - 1)))
}

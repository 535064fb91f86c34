/** Slots, the token's state, its sessions, and the login. */

import type { Examination } from '../examine.ts'
import type { TokenFact } from '../facts.ts'
import type { Findings } from '../finding.ts'
import { kindOf, OWN_CONFIGURATION } from './module.ts'

export function tokenFindings(examination: Examination, findings: Findings): void {
  const slots = examination.one('slots')
  if (slots === undefined) return
  const { token } = examination
  if (token === undefined) {
    noTokenFindings(examination, slots, findings)
    return
  }
  findings.ok(
    'token.found',
    `token "${token.label}" (serial ${token.serial || 'none'}, slot ${token.slot}, ${token.manufacturer} ${token.model}), one of ${count(slots.slots, 'slot')}`,
  )
  twinFindings(token, slots.tokens, examination, findings)
  stateFindings(token, findings)
}

/** Of the chosen token: will it sign for somebody who logs in? */
function stateFindings({ flags }: TokenFact, findings: Findings): void {
  const has = (flag: number): boolean => (flags & flag) !== 0
  if (!has(CKF.TOKEN_INITIALIZED)) {
    findings.error(
      'token.not-initialised',
      'the token is not initialised',
      "initialise it with its vendor's tool, or with pkcs11-tool --init-token",
    )
  }
  if (has(CKF.LOGIN_REQUIRED) && !has(CKF.USER_PIN_INITIALIZED)) {
    findings.error(
      'token.no-user-pin',
      'the token has no user PIN yet',
      'its security officer has to set one: pkcs11-tool --login --login-type so --init-pin',
    )
  }
  if (has(CKF.ERROR_STATE)) {
    findings.error(
      'token.error-state',
      'the token reports a failed self-test (CKF_ERROR_STATE)',
      'restart the HSM; if it stays, ask its vendor',
    )
  }
  if (has(CKF.PROTECTED_AUTHENTICATION_PATH)) {
    findings.warning(
      'token.pin-pad',
      'the token wants its PIN on a keypad of its own (CKF_PROTECTED_AUTHENTICATION_PATH)',
      'Sealgate starts unattended and sends the PIN: use a token, or a mode of it, that takes the PIN through PKCS#11',
    )
  }
  if (has(CKF.WRITE_PROTECTED)) {
    findings.note(
      'token.write-protected',
      'the token is write-protected: enough for signing',
      'generate and rotate keys on another member',
    )
  }
  if (has(CKF.USER_PIN_TO_BE_CHANGED)) {
    findings.warning(
      'token.pin-to-be-changed',
      'the PIN is the one from the factory or has expired (CKF_USER_PIN_TO_BE_CHANGED)',
      'change it, then the PIN file',
    )
  }
  pinTryFindings(flags, findings)
}

function pinTryFindings(flags: number, findings: Findings): void {
  if ((flags & CKF.USER_PIN_LOCKED) !== 0) {
    findings.error(
      'token.pin-locked',
      'the PIN is locked; the login was not tried',
      'the security officer has to unlock it (pkcs11-tool --login --login-type so --init-pin)',
    )
  } else if ((flags & CKF.USER_PIN_FINAL_TRY) !== 0) {
    findings.error(
      'token.pin-final-try',
      'one PIN try is left before the token locks itself; the login was not tried, and Sealgate would not try it either',
      'find out who tries a wrong PIN, then log in once by hand with the right one: pkcs11-tool --login --list-objects',
    )
  } else if ((flags & CKF.USER_PIN_COUNT_LOW) !== 0) {
    findings.warning(
      'token.pin-count-low',
      'a wrong PIN was tried since the last right one; the login was not tried, so that no try is lost',
      'find out who tries a wrong PIN, then log in once by hand with the right one (pkcs11-tool --login --list-objects) and run the doctor again',
    )
  }
}

function noTokenFindings(
  examination: Examination,
  { slots, tokens }: { readonly slots: number; readonly tokens: readonly TokenFact[] },
  findings: Findings,
): void {
  const { hsm, anyToken } = examination.patient
  const initialised = tokens.filter(({ flags }) => (flags & CKF.TOKEN_INITIALIZED) !== 0)
  if (initialised.length === 0) {
    findings.error(
      'token.none',
      `the module shows ${count(slots, 'slot')} and no initialised token`,
      kindOf(examination)?.environment ?? OWN_CONFIGURATION,
    )
    return
  }
  const shown = initialised
    .map(({ label, serial, slot }) => `"${label}" (serial ${serial}, slot ${slot})`)
    .join(', ')
  if (anyToken) {
    findings.error(
      'token.ambiguous',
      `there are ${count(initialised.length, 'token')}: ${shown}`,
      'choose one: --token LABEL, --serial or --slot',
    )
    return
  }
  const wanted = Object.entries(hsm.token).map(([key, value]) => `${key} ${JSON.stringify(value)}`)
  findings.error(
    'token.not-found',
    `there is no token with ${wanted.join()}; the module shows ${shown}`,
    'correct token, serial or slot; or what it connects to is not there',
  )
}

/** A second token that fits as well: which one is taken depends on the order of slots. */
function twinFindings(
  token: TokenFact,
  all: readonly TokenFact[],
  { patient: { hsm } }: Examination,
  findings: Findings,
): void {
  const twins = 'label' in hsm.token ? all.filter(({ label }) => label === token.label) : []
  if (twins.length < 2) return
  findings.warning(
    'token.twins',
    `${twins.length} tokens are called "${token.label}" (serials ${twins.map(({ serial }) => serial).join(', ')}): which one is taken depends on the order of the slots`,
    'choose by serial, if these differ, or by slot',
  )
}

/** How many signatures may run at once, against how many are configured. */
export function sessionFindings(examination: Examination, findings: Findings): void {
  const { token } = examination
  if (token === undefined) return
  const { sessions } = examination.patient.hsm
  const limits = [token.maxSessions, token.maxReadWriteSessions].filter((limit) => limit !== null)
  if (limits.length === 0) {
    findings.ok('token.sessions', `the token names no limit of sessions; ${sessions} are configured`)
    return
  }
  const limit = Math.min(...limits)
  const usable = Math.max(1, limit - 1)
  if (usable >= sessions) {
    findings.ok(
      'token.sessions',
      `the token allows ${limit} sessions; ${sessions} and one for the login are configured`,
    )
    return
  }
  findings.warning(
    'token.sessions',
    `the token allows ${limit} sessions, one of them for the login: of the configured ${sessions} signatures at once only ${usable} will run`,
    `set sessions: ${usable}, less what other programs on this machine use`,
  )
}

export function loginFindings(examination: Examination, findings: Findings): void {
  const login = examination.one('login')
  switch (login?.outcome) {
    case 'accepted':
      findings.ok('login.accepted', 'the token has accepted the PIN')
      return
    case 'already':
      findings.ok('login.accepted', 'somebody is logged in on this token already; the PIN was not compared')
      return
    case 'not-needed':
      findings.note(
        'login.not-needed',
        'the token wants no login',
        'whoever may use its module may use its keys: protect that',
      )
      return
    case 'no-pin':
      findings.note(
        'login.no-pin',
        'no login was tried: private keys and signatures were not looked at',
        examination.patient.keys === null
          ? 'give the PIN: --pin-file FILE'
          : 'another HSM of this configuration is the same token, and it refused the PIN',
      )
      return
    case 'refused':
      findings.error(
        'login.refused',
        login.message,
        'correct the PIN at its source; every further try with a wrong one brings the token nearer to locking itself',
      )
      return
    case 'failed':
      findings.error(
        'login.failed',
        `the login failed: ${login.message}`,
        'is the PIN where it should be, and the HSM well?',
      )
      return
    default: // withheld: the token's flags have said why
  }
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`
}

/** PKCS#11 v3.1, CK_TOKEN_INFO. */
const CKF = {
  WRITE_PROTECTED: 0x2,
  LOGIN_REQUIRED: 0x4,
  USER_PIN_INITIALIZED: 0x8,
  PROTECTED_AUTHENTICATION_PATH: 0x100,
  TOKEN_INITIALIZED: 0x400,
  USER_PIN_COUNT_LOW: 0x10000,
  USER_PIN_FINAL_TRY: 0x20000,
  USER_PIN_LOCKED: 0x40000,
  USER_PIN_TO_BE_CHANGED: 0x80000,
  ERROR_STATE: 0x1000000,
} as const

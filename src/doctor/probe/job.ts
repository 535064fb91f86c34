/**
 * Looks at one HSM, in a child process of its own: everything that can be asked without changing anything.
 *
 * The order is that of a host which opens its token, so what fails here is what would fail there, and what a host tries again
 * because somebody else opens the token, too, is tried again here. Nothing is written to the token, no more than two sessions
 * are open, and the PIN is looked at once at most.
 */

import { setTimeout } from 'node:timers/promises'

import { CKR } from '../../hsm/ckr.ts'
import { Login } from '../../hsm/host/login.ts'
import { OpeningHiccups } from '../../hsm/host/opening-hiccups.ts'
import { announceCalls, Pkcs11Error, type Pkcs11Module } from '../../hsm/host/pkcs11.ts'
import { Problem } from '../../hsm/host/problem.ts'
import { loadModule, type Token } from '../../hsm/host/token.ts'
import type { JobContext, JobHsm, TokenJob } from '../../token/job.ts'
import { type Fact, type ProbeRequest, parseRequest, tokenIdentity } from '../facts.ts'
import { probeConfiguredKeys, probeVisibleKeys } from './keys.ts'
import { type Authenticate, logIn } from './login.ts'
import { measure } from './signatures.ts'
import { Teller } from './teller.ts'
import { chooseToken, listTokens, probeMechanisms } from './tokens.ts'

export const job: TokenJob = {
  opens: 'nothing',
  async run(context: JobContext): Promise<null> {
    const tell = new Teller((fact: Fact) => context.progress(fact))
    announceCalls((call) => tell.calling(call))
    tell.calling('dlopen')
    const module = loadModule(context.hsm.module)
    module.initialize(context.hsm.initialize ?? null)
    try {
      await look(module, context, tell)
    } finally {
      tell.attempt('', () => module.finalize())
    }
    return null
  },
}

async function look(module: Pkcs11Module, { hsm, args }: JobContext, tell: Teller): Promise<void> {
  const request = parseRequest(args)
  tell.attempt('', () => tellLibrary(module, tell))
  const login = new Login(pinOwner(hsm))
  const hiccups = new OpeningHiccups()
  for (;;) {
    const { opened, hiccup } = open(module, { hsm, request, login }, tell)
    const pauseMs = hiccup === undefined ? undefined : hiccups.pauseAfter(hiccup)
    if (pauseMs === undefined) {
      if (opened !== undefined) lookAtKeys(opened, request, tell)
      return
    }
    await setTimeout(pauseMs)
    restart(module, hsm, tell)
  }
}

interface Opened {
  readonly token: Token
  readonly authenticate: Authenticate | undefined
}

/** @returns nothing opened when there is no such token, and what may be different in a moment (hsm/host/opening-hiccups.ts). */
function open(
  module: Pkcs11Module,
  { hsm, request, login }: { readonly hsm: JobHsm; readonly request: ProbeRequest; readonly login: Login },
  tell: Teller,
): { readonly opened?: Opened; readonly hiccup?: unknown } {
  const {
    tokens,
    silent: [hiccup = tokens.length > 0 ? undefined : NO_TOKEN],
  } = listTokens(module, tell)
  const slot = chooseToken(tokens, request.anyToken ? undefined : hsm.token)
  if (slot === undefined) return { hiccup: request.anyToken ? hiccup : (hiccup ?? NO_TOKEN) }
  tell.fact({ fact: 'chosen', slot: slot.fact.slot })
  const mechanisms = probeMechanisms(module, slot.handle, tell)
  const session = module.openSession(slot.handle)
  const wanted = request.login && !request.refused.includes(tokenIdentity(slot.fact))
  const { authenticate, error } = logIn({ module, slot, session, login, wanted }, tell)
  const { label, serial, manufacturer, model } = slot.fact
  const token = {
    module,
    slot: slot.handle,
    label,
    serial,
    manufacturer,
    model,
    session,
    mechanisms,
    sessionLimit: 1,
  }
  return { opened: { token, authenticate }, hiccup: hiccup ?? error }
}

/** From C_Initialize on, as a host does it. */
function restart(module: Pkcs11Module, { initialize }: JobHsm, tell: Teller): void {
  tell.attempt('', () => module.finalize())
  tell.fact({ fact: 'again' })
  try {
    module.initialize(initialize ?? null)
  } catch (error) {
    if (!(error instanceof Pkcs11Error) || error.rv !== CKR.CRYPTOKI_ALREADY_INITIALIZED) throw error
  }
}

function lookAtKeys({ token, authenticate }: Opened, request: ProbeRequest, tell: Teller): void {
  const keys =
    request.keys === null ? probeVisibleKeys(token, tell) : probeConfiguredKeys(token, request.keys, tell)
  for (const key of keys) measure(token, key, authenticate, tell)
}

function pinOwner({ pin, userType }: JobHsm): Pick<JobHsm, 'pin' | 'userType'> {
  return { pin, userType }
}

function tellLibrary(module: Pkcs11Module, tell: Teller): void {
  const { manufacturerID, libraryDescription, libraryVersion, cryptokiVersion } = module.info()
  const text = ({ major, minor }: { major: number; minor: number }) => `${major}.${minor}`
  tell.fact({
    fact: 'library',
    manufacturer: manufacturerID.trimEnd(),
    description: libraryDescription.trimEnd(),
    version: text(libraryVersion),
    cryptoki: text(cryptokiVersion),
  })
}

const NO_TOKEN = new Problem('ERR_HSM_TOKEN_NOT_FOUND', 'the token is not there')

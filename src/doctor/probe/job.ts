/**
 * Looks at one HSM, in a child process of its own: everything that can be asked without changing anything.
 *
 * The order is that of a host which opens its token, so what fails here is what would fail there. Nothing is written to
 * the token, no more than two sessions are open, and C_Login is called once at most.
 */

import { announceCalls, type Pkcs11Module } from '../../hsm/host/pkcs11.ts'
import { loadModule } from '../../hsm/host/token.ts'
import type { JobContext, JobHsm, TokenJob } from '../../token/job.ts'
import { type Fact, parseRequest } from '../facts.ts'
import { probeConfiguredKeys, probeVisibleKeys } from './keys.ts'
import { logIn } from './login.ts'
import { measure } from './signatures.ts'
import { Teller } from './teller.ts'
import { chooseToken, listTokens, probeMechanisms } from './tokens.ts'

export const job: TokenJob = {
  opens: 'nothing',
  run(context: JobContext): null {
    const tell = new Teller((fact: Fact) => context.progress(fact))
    announceCalls((call) => tell.calling(call))
    tell.calling('dlopen')
    const module = loadModule(context.hsm.module)
    module.initialize(context.hsm.initialize ?? null)
    try {
      look(module, context, tell)
    } finally {
      tell.attempt('', () => module.finalize())
    }
    return null
  },
}

function look(module: Pkcs11Module, { hsm, args }: JobContext, tell: Teller): void {
  const request = parseRequest(args)
  tell.attempt('', () => tellLibrary(module, tell))
  const tokens = listTokens(module, tell)
  const slot = chooseToken(tokens, request.anyToken ? undefined : hsm.token)
  if (slot === undefined) return
  tell.fact({ fact: 'chosen', slot: slot.fact.slot })
  const mechanisms = probeMechanisms(module, slot.handle, tell)
  const session = module.openSession(slot.handle)
  const authenticate = logIn({ module, slot, session, hsm: pinOwner(hsm), wanted: request.login }, tell)
  const token = {
    module,
    slot: slot.handle,
    label: slot.fact.label,
    serial: slot.fact.serial,
    session,
    mechanisms,
    sessionLimit: 1,
  }
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

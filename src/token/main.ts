/**
 * Entry of a job's process, which alone loads the PKCS#11 module and reads the PIN. Started by run-token-job.ts.
 *
 * Unlike an hsm host it does what it is told: it is started by an operator's command, has no part in serving
 * anybody, and ends with its one job.
 */

import '../no-inspector.ts'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

import { SealgateError } from '../errors.ts'
import { Login } from '../hsm/host/login.ts'
import { OpeningHiccups } from '../hsm/host/opening-hiccups.ts'
import { Pkcs11Error, type Pkcs11Module } from '../hsm/host/pkcs11.ts'
import { Problem, problemMessage } from '../hsm/host/problem.ts'
import { loadModule, openToken, type Token, type TokenPlace } from '../hsm/host/token.ts'
import type { JobContext, JobHsm, TokenJob } from './job.ts'
import type { JobMessage, StartMessage } from './messages.ts'

// Ctrl-C reaches the whole group; the command decides what becomes of its job, and its end is this process's end.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

const watchdog = new Worker(new URL('../hsm/host/watchdog.js', import.meta.url), {
  workerData: { parent: process.ppid },
  resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1 },
})
watchdog.unref()

let module: Pkcs11Module | undefined
process.once('message', (start: StartMessage) => void perform(start))
process.once('disconnect', leave)
process.on('uncaughtException', (error) => endWith(failure(error)))

async function perform({ job: url, hsm, args }: StartMessage): Promise<void> {
  process.title = `sealgate-job ${hsm.name}`
  try {
    const { job }: { readonly job: TokenJob } = await import(url)
    const context: JobContext = { hsm, args, progress: (value) => say({ kind: 'progress', value }) }
    endWith({ kind: 'result', value: await run(job, context) })
  } catch (error) {
    endWith(failure(error))
  }
}

async function run(job: TokenJob, context: JobContext): Promise<unknown> {
  const { hsm } = context
  if (job.opens === 'nothing') return job.run(context)
  module = loadModule(hsm.module)
  if (job.opens === 'without-login') return job.run(await open(module, hsm, NO_LOGIN), context)
  const login = new Login(hsm)
  const token = await open(module, hsm, login)
  const authenticate: (session: typeof token.session) => void = (session) =>
    login.performForSignature(token.module, token.slot, session)
  return job.run({ ...token, authenticate }, context)
}

async function open(module: Pkcs11Module, hsm: JobHsm, login: Pick<Login, 'perform'>): Promise<Token> {
  const hiccups = new OpeningHiccups()
  for (;;) {
    try {
      return openToken(module, placeOf(hsm), login)
    } catch (error) {
      const pauseMs = hiccups.pauseAfter(error)
      if (pauseMs === undefined) throw error
      finalize(module)
      await setTimeout(pauseMs)
    }
  }
}

const NO_LOGIN = { perform: () => false }

function placeOf(hsm: JobHsm): TokenPlace {
  return { ...hsm, initialize: hsm.initialize ?? null }
}

function failure(error: unknown): JobMessage {
  if (error instanceof Problem || error instanceof Pkcs11Error)
    return { kind: 'failed', ...problemMessage(error) }
  const code = error instanceof SealgateError ? error.code : null
  const message = error instanceof Error ? error.message : String(error)
  return { kind: 'failed', code, message, rv: null, call: null }
}

function say(message: JobMessage, said?: () => void): void {
  process.send?.(message, undefined, undefined, said)
}

function endWith(message: JobMessage): void {
  say(message, leave)
}

/** As an hsm host leaves: the module may say goodbye to the HSM, but its exit handlers do not run. */
function leave(): void {
  if (module !== undefined) finalize(module)
  process.kill(process.pid, 'SIGKILL')
}

function finalize(started: Pkcs11Module): void {
  try {
    started.finalize()
  } catch {
    // C_Initialize will say, or there is nobody left to tell.
  }
}

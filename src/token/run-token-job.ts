/**
 * Does one job on one HSM, for an operator's command.
 *
 * A vendor's module can crash its process or hang in it, and does so most of all when something is wrong, which is when
 * people use these commands. So it is loaded in a child process, and what becomes of that is an error in words.
 */

import { type ChildProcess, fork } from 'node:child_process'

import { type ErrorCode, HsmError, SealgateError } from '../errors.ts'
import { hostEnvironment, NODE_ARGUMENTS } from '../hsm/host-process.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { cure } from './cures.ts'
import type { JobHsm } from './job.ts'
import { type JobMessage, parseJobMessage, type StartMessage } from './messages.ts'
import { reportSilence } from './silence.ts'

export interface TokenJobOptions<R> {
  /** The job's file: `new URL('./x-job.ts', import.meta.url)`; also from a source tree, the built one runs. */
  readonly job: URL
  /** Goes through JSON. */
  readonly args?: unknown
  /** Turns what the job returned (JSON) into what the caller wants; throws if it is something else. */
  readonly result: (value: unknown) => R
  readonly onProgress?: (value: unknown) => void
  /** The longest time without a sign of life: from the start, and after each progress. */
  readonly limitMs: number
  /** Blocking calls that run at once (`signAsync`); default `hsm.sessions`. */
  readonly threads?: number
  /** Kills the job. */
  readonly signal?: AbortSignal
}

/**
 * Forks, does the job, and waits until the process has gone.
 *
 * @throws {HsmError} what PKCS#11 said, with `rv` and `call`, the name of the HSM and a cure.
 * @throws {SealgateError} `ERR_TOKEN_CRASHED`, `ERR_TOKEN_TIMEOUT`, or what the job threw.
 * The PIN is tried at most once a job, and never when it is the last try before the token locks itself.
 */
export function runTokenJob<R>(hsm: HsmOptions, options: TokenJobOptions<R>): Promise<R> {
  return new Promise((resolve, reject) => {
    options.signal?.throwIfAborted()
    const { env: _, ...rest } = hsm
    new RunningJob(hsm, options, (outcome) => {
      try {
        resolve(options.result(resultOf(hsm, outcome)))
      } catch (error) {
        reject(error)
      }
    }).start({ job: builtFile(options.job).href, hsm: rest satisfies JobHsm, args: options.args ?? null })
  })
}

/** How a job ended. */
type Outcome = Exclude<JobMessage, { kind: 'progress' }> | { readonly kind: 'died'; readonly error: Error }

class RunningJob {
  readonly #hsm: HsmOptions
  readonly #options: Pick<TokenJobOptions<unknown>, 'limitMs' | 'onProgress' | 'signal'>
  readonly #child: ChildProcess
  readonly #done: (outcome: Outcome) => void
  #outcome: Outcome | undefined
  #timer: NodeJS.Timeout | undefined
  #silence: NodeJS.Timeout | undefined
  #lastWords: NodeJS.Timeout | undefined
  #isClosed = false
  #printed = ''

  constructor(hsm: HsmOptions, options: TokenJobOptions<unknown>, done: (outcome: Outcome) => void) {
    this.#hsm = hsm
    this.#options = options
    this.#done = done
    this.#child = fork(builtFile(new URL('./main.ts', import.meta.url)), [hsm.name], {
      env: hostEnvironment(hsm, options.threads ?? hsm.sessions),
      execArgv: [...NODE_ARGUMENTS],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
  }

  start(message: StartMessage): void {
    const child = this.#child
    child.on('message', (received) => this.#receive(parseJobMessage(received)))
    child.once('error', (cause) =>
      this.#settle(died('ERR_TOKEN_CRASHED', this.#text(`could not be started: ${cause.message}`))),
    )
    child.once('close', (status, signal) => this.#closed(signal ?? `status ${status}`))
    // Its last words may still be in the pipe; a process that the module left behind may hold that open for ever.
    child.once('exit', (status, signal) => {
      const how = signal ?? `status ${status}`
      this.#lastWords = setTimeout(() => this.#closed(how), LAST_WORDS_MS)
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#printed = (this.#printed + chunk.toString('utf8')).slice(-MAX_PRINTED_CHARS)
      })
    }
    this.#options.signal?.addEventListener('abort', this.#abort, { once: true })
    this.#expectWithin(this.#options.limitMs)
    // A child that is dead already says so by closing.
    child.send(message, () => {})
  }

  #receive(message: JobMessage | undefined): void {
    if (message === undefined || this.#outcome !== undefined) return
    if (message.kind === 'progress') {
      this.#expectWithin(this.#options.limitMs)
      this.#options.onProgress?.(message.value)
      return
    }
    this.#settle(message)
    clearTimeout(this.#silence)
    // It leaves by itself, once the module has said goodbye; if that hangs, nothing is lost.
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#child.kill('SIGKILL'), LEAVE_LIMIT_MS)
  }

  #expectWithin(limitMs: number): void {
    clearTimeout(this.#silence)
    this.#silence = setTimeout(
      () => reportSilence({ hsm: this.#hsm.name, silentMs: SILENT_MS, limitMs }),
      SILENT_MS,
    )
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      const message = this.#text(
        `did not answer within ${limitMs / 1000} s and was ended: is the HSM reachable, and does its vendor's own tool get an answer?`,
      )
      this.#settle(died('ERR_TOKEN_TIMEOUT', message))
      this.#child.kill('SIGKILL')
    }, limitMs)
  }

  readonly #abort = (): void => {
    const { reason } = this.#options.signal ?? {}
    this.#settle({ kind: 'died', error: reason instanceof Error ? reason : new Error(String(reason)) })
    this.#child.kill('SIGKILL')
  }

  #settle(outcome: Outcome): void {
    this.#outcome ??= outcome
    // One that could not be started never closes.
    if (this.#child.pid === undefined) this.#closed('')
  }

  #closed(how: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const timer of [this.#timer, this.#silence, this.#lastWords]) clearTimeout(timer)
    const { stdout, stderr } = this.#child
    for (const stream of [stdout, stderr]) stream?.destroy()
    if (this.#child.connected) this.#child.disconnect()
    this.#options.signal?.removeEventListener('abort', this.#abort)
    this.#outcome ??= died(
      'ERR_TOKEN_CRASHED',
      this.#text(`crashed the process that had loaded it (${how})${this.#said()}`),
    )
    this.#done(this.#outcome)
  }

  #text(what: string): string {
    return `hsm "${this.#hsm.name}": the module ${this.#hsm.module} ${what}`
  }

  #said(): string {
    const text = this.#printed.trim()
    return text === '' ? '' : `; it printed: ${text}`
  }
}

function died(code: ErrorCode, message: string): Outcome {
  return { kind: 'died', error: new SealgateError(code, message) }
}

function resultOf(hsm: HsmOptions, outcome: Outcome): unknown {
  if (outcome.kind === 'result') return outcome.value
  if (outcome.kind === 'died') throw outcome.error
  const { code, message, rv, call } = outcome
  if (code === null) throw new Error(`a job on hsm "${hsm.name}" failed: ${message}`)
  if (!isHsmCode(code)) throw new SealgateError(code, message)
  const help = rv === null ? undefined : cure(rv)
  throw new HsmError(code, `hsm "${hsm.name}": ${message}${help === undefined ? '' : `; ${help}`}`, {
    hsm: hsm.name,
    ...(rv === null ? {} : { rv }),
    ...(call === null ? {} : { call }),
  })
}

function isHsmCode(code: ErrorCode): code is Extract<ErrorCode, `ERR_HSM_${string}`> {
  return code.startsWith('ERR_HSM_')
}

/** TypeScript sources do not run on the oldest supported Node: of a source tree the built files run. */
function builtFile(file: URL): URL {
  if (!file.pathname.endsWith('.ts')) return file
  const root = new URL(import.meta.url.endsWith('.ts') ? '../../' : '../', import.meta.url)
  const inSource = new URL('src/', root).href
  const built = file.href.startsWith(inSource)
    ? new URL('dist/', root).href + file.href.slice(inSource.length)
    : file.href
  return new URL(built.replace(/\.ts$/, '.js'))
}

// By then somebody at a terminal wonders; a key of RSA-4096 may well take as long as that.
const SILENT_MS = 10_000
const LEAVE_LIMIT_MS = 2000
const LAST_WORDS_MS = 1000
const MAX_PRINTED_CHARS = 1000

/** One hsm host as the front process sees it: a child, a pipe with frames, and an end. */

import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

import type { Log } from '../log.ts'
import type { SignatureScheme } from '../signing.ts'
import { FrameChannel } from './frame-channel.ts'
import { FrameError } from './frame-reader.ts'
import {
  FAILED_CALLS,
  FAILED_REASONS,
  FRAME,
  type FrameType,
  jsonPayload,
  WRAP_CALLS,
  WRAP_REASONS,
} from './frames.ts'
import {
  type ConfigureMessage,
  type ProblemMessage,
  parseProblem,
  parseReady,
  parseRecovering,
  type ReadyMessage,
  type RecoveringMessage,
} from './messages.ts'
import type { HsmOptions } from './options.ts'
import type { SignFailure } from './sign-failure.ts'
import type { WrapFailure, WrapMessage } from './wrap-requests.ts'

export interface HostEvents {
  ready(message: ReadyMessage): void
  /** It signs nothing until the next `ready`. */
  recovering(message: RecoveringMessage): void
  /** The host is about to end, for this reason. */
  problem(problem: ProblemMessage): void
  /** @param signature the receiver's own copy. */
  signed(request: number, hsmSeconds: number, signature: Uint8Array): void
  failed(request: number, failure: SignFailure): void
  sessions(open: number, limit: number): void
  /** @param body the receiver's own copy. */
  wrapped(request: number, body: Buffer): void
  notWrapped(request: number, failure: WrapFailure): void
  /** No answer will come any more. Called once, as early as it is known. */
  lost(): void
  /** The process is gone. Called once, after `lost`. @param how e.g. `was killed by SIGSEGV`. */
  exited(how: string): void
}

/** For Node in a child process: it opens no inspector at SIGUSR1, not even before it has loaded `no-inspector.ts`. */
export const NODE_ARGUMENTS: readonly string[] = ['--disable-sigusr1'].filter((option) =>
  process.allowedNodeEnvironmentFlags.has(option),
)

/**
 * The host's program. TypeScript sources do not run on the oldest supported Node, and vitest transforms only
 * its own process: from a source tree the host is the built one.
 */
export function defaultHostEntry(): string {
  const here = import.meta.url
  return fileURLToPath(new URL(here.endsWith('.ts') ? '../../dist/hsm/host/main.js' : './host/main.js', here))
}

export class HostProcess {
  readonly #hsm: HsmOptions
  readonly #events: HostEvents
  readonly #child: ChildProcess
  /** undefined when the process could not be started. */
  readonly #channel: FrameChannel | undefined
  #lost = false
  #ended = false
  /** How the process exited, as soon as it has. */
  #how: string | undefined
  #reason: string | undefined

  /**
   * Starts the process and tells it what to open.
   *
   * @throws {RangeError} when it has more keys than can be said; nothing was started then.
   */
  constructor(options: {
    hsm: HsmOptions
    keys: ConfigureMessage['keys']
    entry: string
    log: Log
    events: HostEvents
  }) {
    const { hsm, log } = options
    this.#hsm = hsm
    this.#events = options.events
    // Before there is a process that would have to be ended if this cannot be said.
    const configuration = jsonPayload(FRAME.configure, {
      hsm: hsm.name,
      module: hsm.module,
      initialize: hsm.initialize ?? null,
      token: hsm.token,
      pin: hsm.pin,
      userType: hsm.userType,
      sessions: hsm.sessions,
      keys: options.keys,
      wrappingKey: wrappingKeyMessage(hsm),
    } satisfies ConfigureMessage)
    this.#child = spawn(process.execPath, [...NODE_ARGUMENTS, options.entry, hsm.name], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      env: hostEnvironment(hsm),
    })
    this.#child.on('error', (error) => this.#exit(`could not be started: ${error.message}`))
    this.#child.on('exit', (status, signal) =>
      this.#exit(signal === null ? `exited with status ${status}` : `was ended by ${signal}`),
    )
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) =>
        log.warn({ hsm: hsm.name, output: printable(chunk) }, 'hsm host printed'),
      )
    }
    const pipe = this.#child.stdio?.[3]
    if (!(pipe instanceof Socket)) return
    this.#channel = new FrameChannel({
      open: (onChunk) => pipe.on('data', onChunk),
      accepts: [
        ...[FRAME.ready, FRAME.recovering, FRAME.problem, FRAME.signed, FRAME.failed, FRAME.sessions],
        ...[FRAME.wrapped, FRAME.notWrapped],
      ],
      onFrame: (type, payload) => this.#frame(type, payload),
      // TLS asks for all signatures of a round in one call.
      defer: queueMicrotask,
      onEnd: (error) => this.#pipeEnded(error),
    })
    this.#channel.writer.prepared(FRAME.configure, configuration)
    this.#channel.flush()
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** @param request answered by `signed` or `failed` with the same number, or by `lost`. */
  sign(request: number, key: number, scheme: SignatureScheme, message: Uint8Array): void {
    this.#channel?.writer.sign(request, key, scheme.codePoint, message)
    this.#channel?.written()
  }

  /** @param request answered by `wrapped` or `notWrapped` with the same number, or by `lost`. */
  wrap(request: number, { direction, header, body }: WrapMessage): void {
    this.#channel?.writer.wrap(request, direction, header, body)
    this.#channel?.flush()
  }

  /** Asks the host to leave: it says goodbye to the HSM and ends, or is killed when that takes too long. */
  close(): void {
    this.#channel?.close()
    this.#reportLost()
    this.#killAfter(CLOSE_LIMIT_MS)
  }

  /** Nothing more is heard of it, even if the kernel cannot end it yet. @param reason for the log. */
  kill(reason: string): void {
    this.#reason ??= reason
    this.#child.kill('SIGKILL')
    this.#channel?.destroy()
    this.#reportLost()
  }

  #frame(type: FrameType, payload: Buffer): void {
    switch (type) {
      case FRAME.signed: {
        const signature = new Uint8Array(payload.length - 8)
        signature.set(payload.subarray(8))
        this.#events.signed(payload.readUInt32BE(0), payload.readUInt32BE(4) / 1e6, signature)
        return
      }
      case FRAME.failed:
        this.#events.failed(payload.readUInt32BE(0), {
          rv: payload.readUInt32BE(8),
          call: FAILED_CALLS[payload.readUInt8(12)] ?? '',
          reason: FAILED_REASONS[payload.readUInt8(13)] ?? 'call',
        })
        return
      case FRAME.wrapped: {
        const body = Buffer.allocUnsafeSlow(payload.length - 4)
        payload.copy(body, 0, 4)
        payload.fill(0, 4)
        this.#events.wrapped(payload.readUInt32BE(0), body)
        return
      }
      case FRAME.notWrapped:
        this.#events.notWrapped(payload.readUInt32BE(0), {
          rv: payload.readUInt32BE(4),
          call: WRAP_CALLS[payload.readUInt8(8)] ?? '',
          reason: WRAP_REASONS[payload.readUInt8(9)] ?? 'call',
        })
        return
      case FRAME.sessions:
        this.#events.sessions(payload.readUInt16BE(0), payload.readUInt16BE(2))
        return
      case FRAME.ready:
        this.#events.ready(parseReady(payload))
        return
      case FRAME.recovering:
        this.#events.recovering(parseRecovering(payload))
        return
      case FRAME.problem:
        this.#events.problem(parseProblem(payload))
        return
      default:
        throw new FrameError(`frame type ${type} is not for the front process`)
    }
  }

  #pipeEnded(error: FrameError | undefined): void {
    this.#reportLost()
    if (error !== undefined) this.kill(`sent what is no frame: ${error.message}`)
    if (this.#how !== undefined) this.#end()
    else this.#killAfter(CLOSE_LIMIT_MS)
  }

  /** Its last words may still be in the pipe; a process that the module left behind may hold that open for ever. */
  #exit(how: string): void {
    if (this.#how !== undefined) return
    this.#how = how
    if (this.#lost) this.#end()
    else setTimeout(() => this.#end(), LAST_WORDS_MS)
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#reportLost()
    this.#channel?.destroy()
    this.#events.exited(this.#reason ?? this.#how ?? 'ended')
  }

  #reportLost(): void {
    if (this.#lost) return
    this.#lost = true
    this.#events.lost()
  }

  #killAfter(delayMs: number): void {
    const timer = setTimeout(() => this.kill(`${this.#hsm.name} did not leave within ${delayMs} ms`), delayMs)
    this.#child.once('exit', () => clearTimeout(timer))
  }
}

/**
 * An allowlist: the front process's environment may hold other members' PINs and what else the operator put there.
 * The thread pool has to be larger than the number of blocking C_Sign calls, or they would wait for each other.
 *
 * @param threads how many of those there may be at once.
 */
export function hostEnvironment(hsm: HsmOptions, threads = hsm.sessions): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {}
  for (const name of INHERITED) {
    const value = process.env[name]
    if (value !== undefined) env[name] = value
  }
  if ('env' in hsm.pin) env[hsm.pin.env] = process.env[hsm.pin.env]
  return { ...env, ...hsm.env, UV_THREADPOOL_SIZE: String(Math.min(threads + 4, MAX_THREADPOOL)) }
}

function wrappingKeyMessage({ wrappingKey: key }: HsmOptions): ConfigureMessage['wrappingKey'] {
  if (key === undefined) return null
  const idHex = key.id === undefined ? null : Buffer.from(key.id).toString('hex')
  return { uri: key.uri, label: key.label ?? null, idHex }
}

const INHERITED = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'USER', 'LD_LIBRARY_PATH']
// libuv's own limit.
const MAX_THREADPOOL = 1024
const CLOSE_LIMIT_MS = 2000
const LAST_WORDS_MS = 200
const MAX_OUTPUT_CHARS = 2000

function printable(chunk: Buffer): string {
  return chunk.toString('utf8').trimEnd().slice(0, MAX_OUTPUT_CHARS)
}

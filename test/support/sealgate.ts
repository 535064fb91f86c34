/** Sealgate as a user runs it: the built program as a process, asked from outside only. Long because all tests ask here. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, vi } from 'vitest'
import { MetricsPage } from './metrics-page.ts'
import { checkout, nodeUnderTest } from './npm-start.ts'
import { descendants, untilEnded } from './process-tree.ts'
import { type Outcome, runTool } from './tools.ts'

/** As built; for `nodeUnderTest`. */
export const program = join(checkout, 'dist/cli/main.js')

export interface SealgateOptions {
  /** YAML, or what its keys are. Port 0 for every address: the log says which port it became. */
  readonly config: string | object
  readonly env?: NodeJS.ProcessEnv
  /** For `run`, after the configuration. */
  readonly args?: readonly string[]
  /** A program with its arguments that becomes Sealgate (execve) when it has done its part. */
  readonly launcher?: readonly string[]
  /** Where relative paths begin; a folder of its own unless given. */
  readonly directory?: string
}

export interface LogLine extends Record<string, unknown> {
  readonly level: string
  readonly msg?: string
}

/** As the log line `ready` shows it. */
export interface Listener {
  readonly name: string
  readonly protocol: string
  readonly port: number
}

/** What `/status` says, as far as tests ask. */
export interface Status {
  readonly state: string
  readonly hsms: readonly {
    name: string
    state: string
    pid?: number
    restarts: number
    inFlight: number
    sessions: { open: number; limit: number }
    hedgeDelayMs: number
    lastError?: { message: string }
  }[]
  readonly certificates: readonly { file: string; ready: boolean; daysLeft: number }[]
  readonly reload: {
    readonly last?: { time: string; cause: string; result: string; reasons: readonly string[] }
    readonly lingeringHosts: number
  }
}

/** @throws when it ends before it is ready, with everything it has printed. */
export async function startSealgate(options: SealgateOptions): Promise<Sealgate> {
  const sealgate = new Sealgate(options)
  try {
    await sealgate.logged('ready', START_MS)
  } catch (error) {
    await sealgate[Symbol.asyncDispose]()
    throw error
  }
  sealgate.markStarted()
  return sealgate
}

/** A command that is expected to end by itself: `check`, or a `run` that cannot start. */
export function sealgateCommand(args: readonly string[], env = process.env): Promise<Outcome> {
  requireBuild()
  return runTool(nodeUnderTest, [program, ...args], { env })
}

export class Sealgate implements AsyncDisposable {
  /** Every line of standard output, parsed. Anything that is not JSON is an error of its own. */
  readonly lines: LogLine[] = []
  stderr = ''
  /** Settles when the process has ended. `status` is null when a signal ended it. */
  readonly ended: Promise<{ readonly status: number | null; readonly signal: string | null }>
  readonly #child: ChildProcess
  readonly #directory = mkdtempSync(join(tmpdir(), 'sealgate-run-'))
  /** Its configuration. */
  readonly file: string
  #rest = ''
  #strayOutput = ''
  #hosts: readonly number[] = []
  #atStart: ReadonlySet<string> = new Set()

  constructor({ config, env = process.env, args = [], launcher = [], directory }: SealgateOptions) {
    requireBuild()
    this.file = join(directory ?? this.#directory, 'sealgate.yaml')
    this.configure(config)
    const [command = nodeUnderTest, ...words] = [
      ...launcher,
      nodeUnderTest,
      program,
      'run',
      '--config',
      this.file,
    ]
    this.#child = spawn(command, [...words, ...args], { env, stdio: 'pipe' })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    started.add(this)
    running.add(this)
    this.ended = once(this.#child, 'close').then(([status, signal]) => {
      running.delete(this)
      return { status, signal }
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get listeners(): readonly Listener[] {
    const ready = this.lines.find(({ msg }) => msg === 'ready')
    return Array.isArray(ready?.['listeners']) ? ready['listeners'] : []
  }

  /** Of a listener, by its name; of the first one without. */
  port(name?: string): number {
    const listener = this.listeners.find((candidate) => name === undefined || candidate.name === name)
    if (listener === undefined) throw new Error(`no listener ${name ?? ''}:\n${this.#story()}`)
    return listener.port
  }

  /** Where `path` is served by the first listener; the certificate is for localhost. */
  url(path = '/', name?: string): string {
    return `https://localhost:${this.port(name)}${path}`
  }

  /** The answer of the admin endpoint; undefined when nobody listens there (any more). */
  async admin(path: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
    const admin = this.lines.find(({ msg }) => msg === 'admin')
    try {
      const response = await fetch(`http://127.0.0.1:${admin?.['port']}${path}`)
      return { status: response.status, text: await response.text() }
    } catch {
      return undefined
    }
  }

  async metrics(): Promise<MetricsPage> {
    return new MetricsPage((await this.admin('/metrics'))?.text ?? '')
  }

  async status(): Promise<Status> {
    return JSON.parse((await this.admin('/status'))?.text ?? '{}')
  }

  /** Waits for a log line with this message. @throws when the process ends without it. */
  async logged(msg: string, timeoutMs = START_MS): Promise<LogLine> {
    const found = () => this.lines.find((line) => line.msg === msg)
    // Not its exit: what it has written last may come after that.
    const wait = vi.waitUntil(() => found() ?? !running.has(this), {
      timeout: timeoutMs,
      interval: POLL_MS,
    })
    await wait.catch(() => {})
    const line = found()
    if (line === undefined) throw new Error(`"${msg}" was not logged:\n${this.#story()}`)
    return line
  }

  /** Access log lines: HTTP requests. */
  requests(): LogLine[] {
    return this.lines.filter((line) => line['requestId'] !== undefined)
  }

  /** Puts another configuration in place, which nobody has to heed. Renamed over: a reload under way never reads half of it. */
  configure(config: string | object): void {
    const next = `${this.file}.next`
    writeFileSync(next, typeof config === 'string' ? config : JSON.stringify(config, null, 2))
    renameSync(next, this.file)
  }

  /** Ends of reloads so far, in order. */
  reloads(): LogLine[] {
    return this.lines.filter(({ msg = '' }) => msg === 'reloaded' || msg.startsWith('not reloaded'))
  }

  /** Waits until one more reload has ended than `before`. @returns its log line. */
  async reloadEnds(before: number, timeoutMs = START_MS): Promise<LogLine> {
    await vi.waitUntil(() => this.reloads().length > before, { timeout: timeoutMs, interval: POLL_MS })
    const line = this.reloads()[before]
    if (line === undefined) throw new Error(`no reload has ended:\n${this.#story()}`)
    return line
  }

  /** HUP, after the configuration was written anew if there is one. @returns the log line of its end. */
  reload(config?: string | object): Promise<LogLine> {
    if (config !== undefined) this.configure(config)
    const before = this.reloads().length
    this.signal('SIGHUP')
    return this.reloadEnds(before)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** TERM. @returns how it ended; `null` and KILL when it did not within ten seconds. */
  async stop(): Promise<Awaited<Sealgate['ended']>> {
    this.#hosts = descendants(this.pid)
    this.signal('SIGTERM')
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_MS)
    const ended = await this.ended
    clearTimeout(timer)
    return ended
  }

  /** The descriptors of the front process, e.g. `5 socket:[4711]`; without libuv's one spare per event loop. */
  descriptors(): string[] {
    const directory = `/proc/${this.pid}/fd`
    return readdirSync(directory).flatMap((fd) => {
      try {
        const target = readlinkSync(join(directory, fd))
        return target === '/dev/null' ? [] : [`${fd} ${target}`]
      } catch {
        return [] // closed meanwhile
      }
    })
  }

  markStarted(): void {
    this.#atStart = new Set(this.descriptors())
  }

  /** Conservation: no connection, no signature, no descriptor is left of what there was. */
  async untilAtRest(timeoutMs = REST_MS): Promise<void> {
    await vi.waitFor(
      async () => {
        // Before our own question, whose connection would count.
        const descriptors = this.descriptors()
        const metrics = await this.metrics()
        const connections = metrics.sum('sealgate_connections_open')
        const signatures =
          metrics.sum('sealgate_signs_in_flight') +
          metrics.sum('sealgate_signs_waiting') +
          metrics.sum('sealgate_handshakes_signing')
        // Counted, not compared: a host process that was started again has other pipes, but as many.
        const more = descriptors.length - this.#atStart.size
        const left = {
          connections,
          signatures,
          more,
          new: descriptors.filter((fd) => !this.#atStart.has(fd)),
        }
        if (connections + signatures > 0 || more > 0) throw new Error(`left over: ${JSON.stringify(left)}`)
      },
      { timeout: timeoutMs, interval: POLL_MS },
    )
  }

  /** The last thing a test does: at rest, then a clean end. @throws with what is wrong. */
  async finish(): Promise<void> {
    try {
      await this.untilAtRest()
      const { status, signal } = await this.stop()
      await untilEnded(this.#hosts, STOP_MS)
      if (status !== 0) throw new Error(`ended with ${status ?? signal} instead of 0:\n${this.#story()}`)
      if (this.stderr + this.#strayOutput !== '') throw new Error(`stray output:\n${this.#story()}`)
    } finally {
      await this[Symbol.asyncDispose]()
    }
  }

  /** Ends it by force where it still runs; for tests that have failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL')
    await this.ended
    rmSync(this.#directory, { recursive: true, force: true })
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      try {
        this.lines.push(JSON.parse(line))
      } catch {
        this.#strayOutput += `${line}\n`
      }
    }
  }

  #story(): string {
    const log = this.lines.slice(-STORY_LINES).map((line) => `${JSON.stringify(line)}\n`)
    return `${log.join('')}${this.#strayOutput}${this.stderr}`
  }
}

const started = new Set<Sealgate>()
const running = new Set<Sealgate>()

// A test that times out never comes to its own end, and one that kills its proxy leaves a directory. Registered first, this
// runs last in each test file.
afterAll(async () => {
  for (const sealgate of started) await sealgate[Symbol.asyncDispose]()
})

function requireBuild(): void {
  if (!existsSync(program)) throw new Error('Sealgate is not built: npm run build')
}

const START_MS = 40_000
const STOP_MS = 10_000
const REST_MS = 10_000
const POLL_MS = 20
const STORY_LINES = 30

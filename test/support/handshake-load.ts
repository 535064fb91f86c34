/** The load generator of bench/, compiled for a test: full TLS handshakes from C, counted to the last one. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkout } from './npm-start.ts'
import { runTool } from './tools.ts'

export interface LoadResult {
  /** How long it began connections. */
  readonly seconds: number
  readonly started: number
  readonly handshakes: number
  readonly resumed: number
  /** By kind. */
  readonly errors: Readonly<Record<string, number>>
  readonly firstError: string
}

/** One connection of a steady load. Times as `nowMs` tells them. */
export interface Handshake {
  /** When it was meant to begin: a late start is part of its latency. */
  readonly intendedMs: number
  /** When the client got to it. */
  readonly begunMs: number
  readonly endedMs: number
  /** The kind of failure. */
  readonly failure: string | undefined
}

export interface SteadyResult extends LoadResult {
  /** In the order of their ends. */
  readonly each: readonly Handshake[]
}

export interface RunningLoad {
  /** Begins no more handshakes, waits for those under way. */
  stop(): Promise<SteadyResult>
  /** All clients are gone at once, in the middle of whatever they do. */
  kill(): Promise<void>
}

/** CLOCK_MONOTONIC, which the load generator writes down too. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / NS_PER_MS
}

export class HandshakeLoad implements Disposable {
  readonly #directory: string
  readonly #running = new Set<ChildProcess>()

  /** Takes a second or two. */
  static async compile(): Promise<HandshakeLoad> {
    const load = new HandshakeLoad(mkdtempSync(join(tmpdir(), 'sealgate-load-')))
    const sources = ['handshake-load', 'client', 'measure'].map((name) =>
      join(checkout, `bench/load/${name}.c`),
    )
    const flags = ['-O2', '-std=gnu11', '-o', load.#program]
    const { status, stderr } = await runTool('cc', [...flags, ...sources, '-lssl', '-lcrypto', '-lpthread'])
    if (status !== 0) throw new Error(`bench/load does not compile (apt-get install libssl-dev?): ${stderr}`)
    return load
  }

  private constructor(directory: string) {
    this.#directory = directory
  }

  get #program(): string {
    return join(this.#directory, 'handshake-load')
  }

  /** @param args as its usage says, e.g. `--concurrency 100 --seconds 2 --request`. */
  async run(port: number, ...args: readonly string[]): Promise<LoadResult> {
    const { status, stdout, stderr } = await runTool(this.#program, [...args, `127.0.0.1:${port}`], {
      timeoutMs: RUN_MS,
    })
    if (status !== 0) throw new Error(`handshake-load ended with ${status}: ${stderr}`)
    return JSON.parse(stdout)
  }

  /** Arrivals by the clock, `rate` a second, until it is stopped. */
  steady(port: number, { rate }: { rate: number }): RunningLoad {
    return this.start(port, '--rate', String(rate), '--concurrency', String(SLOTS), '--read-ticket')
  }

  /** Until it is stopped. @param args as for `run`. */
  start(port: number, ...args: readonly string[]): RunningLoad {
    const each = join(this.#directory, 'each')
    const own = ['--seconds', String(ONE_DAY_S), '--each', each]
    const child = spawn(this.#program, [...own, ...args, `127.0.0.1:${port}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#running.add(child)
    child.once('close', () => this.#running.delete(child))
    const output = { stdout: '', stderr: '' }
    child.stdout.on('data', (text) => {
      output.stdout += text
    })
    child.stderr.on('data', (text) => {
      output.stderr += text
    })
    const closed = once(child, 'close')
    return {
      async stop() {
        child.kill('SIGTERM')
        const [status] = await closed
        if (status !== 0) throw new Error(`handshake-load ended with ${status}: ${output.stderr}`)
        return { ...JSON.parse(output.stdout), each: readEach(each) }
      },
      async kill() {
        child.kill('SIGKILL')
        await closed
      },
    }
  }

  [Symbol.dispose](): void {
    for (const child of this.#running) child.kill('SIGKILL')
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

export function failures({ errors }: LoadResult): number {
  return Object.values(errors).reduce((sum, count) => sum + count, 0)
}

function readEach(file: string): Handshake[] {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  return lines.map((line) => {
    const [intended, begun, ended, kind] = line.split(' ')
    return {
      intendedMs: Number(intended) / NS_PER_MS,
      begunMs: Number(begun) / NS_PER_MS,
      endedMs: Number(ended) / NS_PER_MS,
      failure: kind === 'none' ? undefined : kind,
    }
  })
}

const NS_PER_MS = 1_000_000
/** More than what can be under way at 500 handshakes a second while nobody signs for two seconds. */
const SLOTS = 1_000
const ONE_DAY_S = 86_400
/** As long as a test. */
const RUN_MS = 60_000

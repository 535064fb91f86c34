/** `npm start` as a user runs it, until it says that it is ready. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { delimiter, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

export const checkout = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

/** The Node under test; another release than the one that runs the tests, where one is asked for. */
export const nodeUnderTest = process.env['SEALGATE_TEST_NODE'] ?? process.execPath

export interface NpmStart extends AsyncDisposable {
  /** e.g. `https://localhost:8443/` */
  readonly url: string
  /** The line to paste, as printed. */
  readonly curl: string
  /** URL of the metrics, as printed. */
  readonly metrics: string
  /** Of npm. */
  readonly pid: number
  /** From the start of the process to its welcome. */
  readonly readyAfterMs: number
  /** Everything printed so far. */
  output(): string
  /** Sends TERM. @returns the exit status, null when a signal ended it. */
  stop(): Promise<number | null>
}

/** @throws when it ends before it is ready; the message has what it printed. */
export async function npmStart(options: { state: string; args?: readonly string[] }): Promise<NpmStart> {
  const began = performance.now()
  const program = new Program([
    '--state',
    options.state,
    ...(options.args ?? ['--port', '0', '--admin-port', '0']),
  ])
  const [, url = ''] = await program.printed(/(https:\/\/localhost:\d+\/) →/)
  const [, curl = ''] = await program.printed(/(curl --cacert .*)\n/)
  const [, metrics = ''] = await program.printed(/(http:\S+\/metrics)/)
  return {
    url,
    curl,
    metrics,
    pid: program.pid,
    readyAfterMs: performance.now() - began,
    output: () => program.output,
    stop: () => program.stop(),
    [Symbol.asyncDispose]: async () => void (await program.stop()),
  }
}

/** Runs it where it is not expected to become ready. */
export async function npmStartToEnd(
  args: readonly string[],
): Promise<{ status: number | null; output: string }> {
  const program = new Program(args)
  return { status: await program.ended, output: program.output }
}

class Program {
  output = ''
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess

  constructor(args: readonly string[]) {
    const path = `${dirname(nodeUnderTest)}${delimiter}${process.env['PATH']}`
    this.#child = spawn('npm', ['start', '--', ...args], {
      cwd: checkout,
      env: { ...process.env, PATH: path },
      stdio: 'pipe',
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
        this.#child.emit('printed')
      })
    }
    this.ended = once(this.#child, 'close').then(([status]) => {
      this.#child.emit('printed')
      return typeof status === 'number' ? status : null
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.output)
      if (match !== null) return match
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(`npm start ended without printing ${pattern}:\n${this.output}`)
      }
      await once(this.#child, 'printed')
    }
  }

  stop(): Promise<number | null> {
    this.#child.kill('SIGTERM')
    return this.ended
  }
}

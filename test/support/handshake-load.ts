/** The load generator of bench/, compiled for a test: full TLS handshakes from C, counted to the last one. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkout } from './npm-start.ts'
import { runTool } from './tools.ts'

export interface LoadResult {
  readonly started: number
  readonly handshakes: number
  readonly resumed: number
  /** By kind. */
  readonly errors: Readonly<Record<string, number>>
  readonly firstError: string
}

export class HandshakeLoad implements Disposable {
  readonly #directory: string

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
    const { status, stdout, stderr } = await runTool(this.#program, [...args, `127.0.0.1:${port}`])
    if (status !== 0) throw new Error(`handshake-load ended with ${status}: ${stderr}`)
    return JSON.parse(stdout)
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

export function failures({ errors }: LoadResult): number {
  return Object.values(errors).reduce((sum, count) => sum + count, 0)
}

/**
 * A token behind a wire: p11-kit's server hands a module on through a socket, and its client module, in the hsm host,
 * speaks to that. The server can be killed and stopped like a network HSM, and the client is another vendor's code.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { vi } from 'vitest'

import type { HsmOptions } from '../../src/hsm/options.ts'
import { moduleFile } from './module-file.ts'
import type { SoftHsm, SoftToken } from './softhsm.ts'

const INSTALL = 'p11-kit: apt-get install p11-kit'

export class RemoteToken implements AsyncDisposable {
  readonly #hsm: SoftHsm
  readonly #token: SoftToken
  readonly #socket: string
  #server: ChildProcess | undefined

  /** Not started. */
  constructor(hsm: SoftHsm, token: SoftToken) {
    this.#hsm = hsm
    this.#token = token
    this.#socket = join(hsm.directory, `${token.label}.p11-kit`)
  }

  /** Resolves when connections are accepted. */
  async start(): Promise<void> {
    rmSync(this.#socket, { force: true })
    const what = ['--provider', this.#hsm.module, `pkcs11:token=${this.#token.label}`]
    // A process group of its own: the server forks one process for each connection, and they go together.
    const server = spawn('p11-kit', ['server', '--foreground', '--name', this.#socket, ...what], {
      env: { ...process.env, ...this.#hsm.env },
      stdio: 'ignore',
      detached: true,
    })
    this.#server = server
    let failure: string | undefined
    server.once('error', () => {
      failure = `p11-kit not found; install ${INSTALL}`
    })
    await vi.waitUntil(() => failure !== undefined || existsSync(this.#socket), {
      timeout: 15_000,
      interval: 5,
    })
    if (failure !== undefined) throw new Error(failure)
  }

  /** Without a word, like a network that has gone: all connections are reset. */
  async kill(): Promise<void> {
    const server = this.#server
    if (server?.pid === undefined) return
    this.#server = undefined
    const ended = once(server, 'exit')
    this.signal('SIGKILL', server.pid)
    await ended
  }

  /** Silence, like a network that drops every packet: connections stay, nothing answers. */
  pause(): void {
    this.signal('SIGSTOP')
  }

  resume(): void {
    this.signal('SIGCONT')
  }

  signal(signal: NodeJS.Signals, pid = this.#server?.pid): void {
    if (pid !== undefined) process.kill(-pid, signal)
  }

  /** A member on the far side, as config/ would give it. */
  hsmOptions(overrides: Partial<HsmOptions> = {}): HsmOptions {
    return this.#token.hsmOptions({
      name: 'remote',
      module: moduleFile(['pkcs11/p11-kit-client.so', 'p11-kit-client.so'], INSTALL),
      env: { P11_KIT_SERVER_ADDRESS: `unix:path=${this.#socket}` },
      ...overrides,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}

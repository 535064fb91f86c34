/** A Redis of one's own on loopback, with a password, nothing on disk; it can be stopped and started again. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createClient } from '@redis/client'

export class Redis implements AsyncDisposable {
  readonly password = randomBytes(16).toString('hex')
  /** Holds the password, for `password: { file }`. */
  readonly passwordFile: string
  readonly port: number
  #child: ChildProcess | undefined

  private constructor(port: number, directory: string) {
    this.port = port
    this.passwordFile = join(directory, 'redis.password')
    writeFileSync(this.passwordFile, `${this.password}\n`, { mode: 0o600 })
  }

  /** @param directory for its password. */
  static async start(directory: string): Promise<Redis> {
    const redis = new Redis(await freePort(), directory)
    await redis.start()
    return redis
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Again, after `stop()`; empty. */
  async start(): Promise<void> {
    // The configuration comes through standard input: a password in argv is everybody's.
    const child = spawn('redis-server', ['-'], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child = child
    const failed = once(child, 'error').then(([cause]) => {
      throw new Error('redis-server is needed: apt-get install redis-server', { cause })
    })
    child.stdin?.end(
      `bind 127.0.0.1\nport ${this.port}\nsave ""\nappendonly no\nrequirepass ${this.password}\n` +
        `user reader on >${this.password} ~* +get +getrange +ping +client +select +hello +eval\n`,
    )
    await Promise.race([ready(child), failed])
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  /** What lies under this key. */
  async get(key: string): Promise<string | null> {
    const client = createClient({ url: this.url, password: this.password, RESP: 2 })
    await client.connect()
    try {
      return await client.get(key)
    } finally {
      client.destroy()
    }
  }

  async set(key: string, value: string): Promise<void> {
    const client = createClient({ url: this.url, password: this.password, RESP: 2 })
    await client.connect()
    try {
      await client.set(key, value)
    } finally {
      client.destroy()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

async function ready(child: ChildProcess): Promise<void> {
  let output = ''
  for await (const chunk of child.stdout ?? []) {
    output += chunk
    if (output.includes('Ready to accept connections')) break
  }
  if (!output.includes('Ready to accept connections')) throw new Error(`redis-server ended:\n${output}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}

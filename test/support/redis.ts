/** A Redis of one's own on loopback, with a password, nothing on disk; it can be stopped and started again, and do TLS. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from '@redis/client'
import { freePort } from './free-port.ts'

export class Redis implements AsyncDisposable {
  readonly password = randomBytes(16).toString('hex')
  /** Holds the password, for `password: { file }`. */
  readonly passwordFile: string
  readonly port: number
  readonly #tls: { readonly port: number; readonly certificate: string } | undefined
  #child: ChildProcess | undefined

  private constructor(port: number, directory: string, tlsPort: number | undefined) {
    this.port = port
    this.#tls = tlsPort === undefined ? undefined : { port: tlsPort, certificate: selfSigned(directory) }
    this.passwordFile = join(directory, 'redis.password')
    writeFileSync(this.passwordFile, `${this.password}\n`, { mode: 0o600 })
  }

  /** @param directory for its password. @param options.tls on a port of its own, beside the other one. */
  static async start(directory: string, options: { tls?: boolean } = {}): Promise<Redis> {
    const tlsPort = options.tls === true ? await freePort() : undefined
    const redis = new Redis(await freePort(), directory, tlsPort)
    await redis.start()
    return redis
  }

  /** Where it does TLS, with a certificate for `redis.test` that it has signed itself. */
  get tls(): { readonly url: string; readonly certificate: string } {
    if (this.#tls === undefined) throw new Error('this Redis does no TLS')
    return { url: `rediss://127.0.0.1:${this.#tls.port}`, certificate: this.#tls.certificate }
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
        `user reader on >${this.password} ~* +get +getrange +ping +client +select +hello +eval\n` +
        this.#tlsLines(),
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

  #tlsLines(): string {
    if (this.#tls === undefined) return ''
    const { port, certificate } = this.#tls
    return `tls-port ${port}\ntls-cert-file ${certificate}\ntls-key-file ${certificate}.key\ntls-auth-clients no\n`
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

/** Its key is a file, since Redis takes nothing else; it lives as long as the test. */
function selfSigned(directory: string): string {
  const certificate = join(directory, 'redis.pem')
  const files = ['-keyout', `${certificate}.key`, '-out', certificate]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const subject = ['-subj', '/CN=redis.test', '-addext', 'subjectAltName=DNS:redis.test']
  execFileSync('openssl', ['req', '-x509', ...kind, ...subject, ...files], { stdio: 'pipe' })
  return certificate
}

async function ready(child: ChildProcess): Promise<void> {
  let output = ''
  for await (const chunk of child.stdout ?? []) {
    output += chunk
    if (output.includes('Ready to accept connections')) break
  }
  if (!output.includes('Ready to accept connections')) throw new Error(`redis-server ended:\n${output}`)
}

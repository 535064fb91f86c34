/**
 * The sealed set as a value in Redis.
 *
 * One connection, opened at the start and again for as long as it takes; a question that comes while there is none fails
 * at once. Redis compares and replaces in a script, which it runs as one step.
 */

import { readFile } from 'node:fs/promises'
import { createClient, ErrorReply } from '@redis/client'

import { TicketsError } from '../errors.ts'
import type { RedisPlace } from './options.ts'
import { MAX_SEALED_BYTES } from './sealed-set.ts'
import type { Store } from './store.ts'

export interface RedisStoreOptions extends RedisPlace {
  /** For `password: { env }`. */
  readonly environment: (name: string) => string | undefined
}

export class RedisStore implements Store {
  readonly name: string
  readonly #options: RedisStoreOptions
  readonly #client: ReturnType<typeof createClient>
  #lastError: unknown
  #refused = false
  #closed = false

  constructor(options: RedisStoreOptions) {
    this.name = `${options.url} ${options.key}`
    this.#options = options
    this.#client = createClient({
      url: options.url,
      RESP: 2,
      disableOfflineQueue: true,
      credentialsProvider: { type: 'async-credentials-provider', credentials: () => this.#credentials() },
      socket: {
        ...tlsOptions(options),
        connectTimeout: CONNECT_LIMIT_MS,
        // Silence of a peer that is gone: its pings are not answered either.
        socketTimeout: 2 * PING_MS,
        reconnectStrategy: (retries) => pauseMs(retries),
      },
      pingInterval: PING_MS,
    })
    this.#client.on('error', (error: unknown) => {
      this.#lastError = error
    })
    this.#client.on('ready', () => {
      this.#lastError = undefined
      this.#refused = false
    })
    this.#client.connect().catch((error: unknown) => {
      this.#lastError = error
    })
  }

  async read(): Promise<string | undefined> {
    // Never more than it can be, whatever lies there.
    const text = await this.#ask('cannot be read', () =>
      this.#client.getRange(this.#options.key, 0, MAX_SEALED_BYTES),
    )
    return text === null || text === '' ? undefined : text
  }

  async replace(before: string | undefined, after: string): Promise<boolean> {
    const replaced = await this.#ask('cannot be written', () =>
      this.#client.eval(REPLACE, { keys: [this.#options.key], arguments: [before ?? '', after] }),
    )
    return replaced === 1
  }

  async isWritable(): Promise<boolean> {
    return !this.#refused
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#client.destroy()
  }

  async #ask<T>(what: string, command: () => Promise<T>): Promise<T> {
    try {
      await this.#untilReady()
      return await withLimit(command())
    } catch (error) {
      // A user of Redis that may only read: somebody else rotates.
      if (error instanceof ErrorReply && NO_PERMISSION.test(error.message)) this.#refused = true
      const cause = this.#client.isReady ? error : (this.#lastError ?? error)
      const reason = cause instanceof Error ? cause.message || cause.name : String(cause)
      throw new TicketsError('ERR_TICKETS_PLACE', `the shared ticket keys in ${this.name} ${what}: ${reason}`)
    }
  }

  /** The first connection takes a moment. */
  async #untilReady(): Promise<void> {
    const limitMs = performance.now() + READY_LIMIT_MS
    while (!this.#client.isReady && this.#lastError === undefined && performance.now() < limitMs)
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS))
    if (!this.#client.isReady) throw this.#lastError ?? new Error('no connection')
  }

  /** Anew for every connection: passwords change. */
  async #credentials(): Promise<{ username?: string; password?: string }> {
    const { username, password, environment } = this.#options
    if (password === undefined) return {}
    const value =
      'env' in password
        ? (environment(password.env) ?? '')
        : ((await readFile(password.file, 'utf8')).split('\n', 1)[0] ?? '').trimEnd()
    return { ...(username !== undefined && { username }), password: value }
  }
}

function tlsOptions({ url, ca, serverName }: RedisPlace): { tls?: true; ca?: string; servername?: string } {
  if (!url.startsWith('rediss:')) return {}
  return {
    tls: true,
    ...(ca !== undefined && { ca }),
    ...(serverName !== undefined && { servername: serverName }),
  }
}

/** Half to all of a step that doubles from a quarter of a second to ten. */
function pauseMs(retries: number): number {
  return Math.min(250 * 2 ** Math.min(retries, 10), MAX_PAUSE_MS) * (0.5 + Math.random() / 2)
}

async function withLimit<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_LIMIT_MS} ms`)), ANSWER_LIMIT_MS)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

/** 1: it was as expected, and is the new one now. */
const REPLACE = `
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`
/** Of a command, and of one in a script: Redis 7, and later ones. */
const NO_PERMISSION = /^NOPERM|can't run this command|ACL failure/
const CONNECT_LIMIT_MS = 5000
const ANSWER_LIMIT_MS = 5000
const READY_LIMIT_MS = 3000
const READY_POLL_MS = 20
const PING_MS = 10_000
const MAX_PAUSE_MS = 10_000

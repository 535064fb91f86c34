/** `tls.tickets.shared` → SharedTicketOptions: one place, and an AES key that HSMs hold. */

import type { HsmOptions } from '../hsm/options.ts'
import type { RedisPlace, SharedTicketOptions, TicketPlace } from '../tickets/options.ts'
import { resolveKey } from './certificates.ts'
import type { Path } from './document.ts'
import { absolutePath, type Context } from './entries.ts'
import { findFile, readTextFile } from './files.ts'
import { certificateBlocks } from './pem.ts'
import type { SharedTicketsEntry } from './ticket-schema.ts'

/** @returns undefined when nothing is shared, or too little of it is said. */
export function resolveSharedTickets(
  entry: SharedTicketsEntry | undefined,
  hsmNames: ReadonlySet<string>,
  context: Context,
): SharedTicketOptions | undefined {
  if (entry === undefined) return undefined
  const path = ['tls', 'tickets', 'shared']
  const place = resolvePlace(path, entry, context)
  const key = resolveKey([...path, 'key'], entry.key, hsmNames, context, 'secret-key')
  return place && key && { place, key }
}

/** Each HSM that holds the wrapping key is told of it. */
export function withWrappingKey(
  hsms: readonly HsmOptions[],
  tickets: SharedTicketOptions | undefined,
): HsmOptions[] {
  return hsms.map((hsm) => {
    if (!tickets?.key.hsms.includes(hsm.name)) return hsm
    const { uri, label, id } = tickets.key.byHsm?.get(hsm.name) ?? tickets.key
    return { ...hsm, wrappingKey: { uri, label, id } }
  })
}

function resolvePlace(path: Path, entry: SharedTicketsEntry, context: Context): TicketPlace | undefined {
  const { file, directory, redis } = entry
  const given = Object.entries({ file, directory, redis }).flatMap(([key, value]) =>
    value === undefined ? [] : [key],
  )
  if (given.length !== 1) {
    const found = given.length === 0 ? 'names no place' : `names ${given.join(' and ')}`
    context.report.error(path, `${found}: give one of file, directory and redis`)
    return undefined
  }
  // Whether it can be read is seen while it runs: a node starts without it.
  if (file !== undefined) return { kind: 'file', file: absolutePath(context, file) }
  if (directory !== undefined)
    return { kind: 'file', file: `${absolutePath(context, directory)}/${FILE_IN_DIRECTORY}` }
  return redis && resolveRedis([...path, 'redis'], redis, context)
}

function resolveRedis(
  path: Path,
  entry: NonNullable<SharedTicketsEntry['redis']>,
  context: Context,
): TicketPlace | undefined {
  const { report } = context
  const url = URL.canParse(entry.url) ? new URL(entry.url) : undefined
  if (url === undefined || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '') {
    report.error([...path, 'url'], 'is no URL of a Redis: write redis://host:6379/0, or rediss:// for TLS')
    return undefined
  }
  if (url.username !== '' || url.password !== '') {
    report.error(
      [...path, 'url'],
      'holds a user or password: take it out, change the password, and name its file in password: { file: … }',
      'ERR_CONFIG_SECRET',
    )
    return undefined
  }
  if (url.search !== '' || url.hash !== '' || !/^\/?[0-9]*$/.test(url.pathname)) {
    report.error([...path, 'url'], 'has more than a host, a port and the number of a database')
    return undefined
  }
  const tls = url.protocol === 'rediss:'
  for (const key of ['ca', 'server_name'] as const)
    if (!tls && entry[key] !== undefined) report.error([...path, key], 'is for TLS: write rediss:// in url')
  return {
    kind: 'redis',
    url: entry.url,
    key: entry.key,
    username: entry.username,
    password: entry.password && resolvePassword([...path, 'password'], entry.password, context),
    ca: entry.ca === undefined ? undefined : readAuthorities([...path, 'ca'], entry.ca, context),
    serverName: entry.server_name,
  }
}

function resolvePassword(
  path: Path,
  entry: { file?: string | undefined; env?: string | undefined },
  context: Context,
): RedisPlace['password'] {
  const { report } = context
  if ((entry.file === undefined) === (entry.env === undefined)) {
    report.error(
      path,
      'must say where the password is, once: { file: /run/secrets/redis } or { env: NAME }',
      'ERR_CONFIG_SECRET',
    )
    return undefined
  }
  if (entry.env !== undefined) {
    if (!context.environment[entry.env])
      report.error(
        [...path, 'env'],
        `the environment variable ${entry.env} is not set or empty`,
        'ERR_CONFIG_SECRET',
      )
    return { env: entry.env }
  }
  const file = absolutePath(context, entry.file ?? '')
  const found = findFile(file)
  if ('error' in found) report.error([...path, 'file'], found.error, 'ERR_CONFIG_SECRET')
  return { file }
}

function readAuthorities(path: Path, name: string, context: Context): string | undefined {
  const file = absolutePath(context, name)
  const read = readTextFile(file, { maxBytes: MAX_CA_BYTES, encoding: 'latin1' })
  if ('error' in read) {
    context.report.error(path, read.error)
    return undefined
  }
  const blocks = certificateBlocks(read.text)
  if (blocks.length === 0) context.report.error(path, `${file} holds no certificate in PEM`)
  if (blocks.includes(undefined)) context.report.error(path, `${file} is damaged or cut off`)
  return read.text
}

const FILE_IN_DIRECTORY = 'ticket-keys'
const MAX_CA_BYTES = 4 * 1024 * 1024

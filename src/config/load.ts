/**
 * From a file to a `Config`: read, parse, check against the schema, resolve references and files, freeze.
 *
 * Everything that is wrong is reported at once, therefore each step goes on with what the one before it left
 * whole. No PIN is ever read here: the host process of each HSM does that.
 */

import { hash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { dirname, resolve } from 'node:path'
import { ConfigError } from '../errors.ts'
import type { Rate } from '../tls/options.ts'
import { resolveAudit } from './audit.ts'
import { resolveCertificate, warnAboutShadowed } from './certificates.ts'
import { reservedFields } from './client-certificates.ts'
import type { Config, ListenerOptions } from './config.ts'
import { type ConfigDocument, parseConfigDocument } from './document.ts'
import { absolutePath, type Context, declaredNames, type Entry, soundEntries, warnUnused } from './entries.ts'
import { readTextFile } from './files.ts'
import { resolveHsm } from './hsms.ts'
import { listenerSchema } from './listener-schema.ts'
import { checkDistinct, resolveListener, upstreamsOf } from './listeners.ts'
import { Report } from './report.ts'
import { auditSchema, certificateSchema, configSchema, hsmSchema, upstreamSchema } from './schema.ts'
import { ocspSchema } from './stapling-schema.ts'
import { sound, structureFindings } from './structure.ts'
import { resolveSharedTickets, withWrappingKey } from './tickets.ts'
import { checkSharedNames, checkSignable } from './tls-policy.ts'
import { resolveUpstream } from './upstreams.ts'

/**
 * @param file path of the YAML file; relative to the working directory.
 * @returns frozen, with absolute paths and plain numbers (milliseconds, bytes).
 * @throws {ConfigError} with every problem, in the order of the file. The process can exit with `exitStatus(error)`.
 */
export async function loadConfig(file: string): Promise<Config> {
  return resolveConfig(readConfigText(file))
}

/** @throws {ConfigError} `ERR_CONFIG_FILE` when there is nothing to read. */
export function readConfigText(file: string): Pick<Config, 'file' | 'text'> {
  const path = pathOf(file)
  const read = readTextFile(path, { maxBytes: MAX_FILE_BYTES, encoding: 'utf8' })
  if ('error' in read) throw fileError(path, `${read.reason}; name the configuration with --config FILE`)
  if (read.text.trim() === '') throw fileError(path, 'is empty; begin with a file from the folder config/')
  return { file: path, text: read.text }
}

/** @throws {ConfigError} when the path is relative to a directory that is gone. */
function pathOf(file: string): string {
  try {
    return resolve(file)
  } catch {
    throw fileError(
      file,
      'is relative to a working directory that does not exist any more; name its whole path',
    )
  }
}

/**
 * The same text may give another configuration: the files that it names have changed.
 *
 * @throws {ConfigError} as `loadConfig`.
 */
export function resolveConfig({ file, text }: Pick<Config, 'file' | 'text'>): Config {
  const world = { nowMs: Date.now(), environment: process.env }
  return resolveDocument(parseConfigDocument(file, text), world, text)
}

function fileError(file: string, message: string): ConfigError {
  return new ConfigError([{ code: 'ERR_CONFIG_FILE', file, path: '', message }])
}

/** The part that needs no clock and no environment of its own. */
function resolveDocument(
  document: ConfigDocument,
  world: Pick<Context, 'nowMs' | 'environment'>,
  text: string,
): Config {
  const report = new Report(document)
  const context: Context = { report, directory: dirname(document.file), ...world }
  for (const finding of structureFindings(configSchema, document.value)) report.find(finding)

  const raw = sectionsOf(document.value)
  const hsmNames = declaredNames(raw['hsms'])
  const hsms = each(soundEntries(hsmSchema, 'hsms', raw['hsms']), (entry) => resolveHsm(entry, context))
  const ocsp = sound(ocspSchema, raw['ocsp'])
  const certificates = each(soundEntries(certificateSchema, 'certificates', raw['certificates']), (entry) =>
    resolveCertificate(entry, hsmNames, ocsp, context),
  )
  warnAboutShadowed(certificates, context)
  checkSharedNames(certificates, context)
  const audit = resolveAudit(
    sound(auditSchema, raw['audit']),
    { hsmNames, certificates: values(certificates) },
    context,
  )
  const keys = [...values(certificates), ...(audit?.checkpoint === undefined ? [] : [audit.checkpoint])]
  const shared = sound(configSchema.shape.tls, raw['tls'])?.tickets.shared
  const sharedTickets = resolveSharedTickets(shared, hsmNames, context)
  const holders = [...keys.flatMap(({ key }) => key.hsms), ...(shared?.key.hsms ?? [])]
  warnUnused(report, 'hsms', hsmNames, new Set(holders))

  const upstreamNames = declaredNames(raw['upstreams'])
  const upstreams = each(soundEntries(upstreamSchema, 'upstreams', raw['upstreams']), (entry) =>
    resolveUpstream(entry, context),
  )
  const targets = { names: upstreamNames, upstreams: values(upstreams) }
  const listeners = each(soundEntries(listenerSchema, 'listeners', raw['listeners']), (entry) =>
    resolveListener(entry, targets, context),
  )
  warnUnused(report, 'upstreams', upstreamNames, new Set(values(listeners).flatMap(upstreamsOf)))
  checkCertificatesExist(listeners, raw['certificates'], context)
  checkSignable(listeners, certificates, context)

  const admin = sound(configSchema.shape.admin, raw['admin'])
  const adminAddress = typeof admin === 'object' ? admin.address : undefined
  checkDistinct(listeners, adminAddress, context)

  report.throwIfAny()
  const whole = configSchema.parse(document.value)
  return deepFreeze({
    file: document.file,
    text,
    sha256: hash('sha256', text),
    hsms: withWrappingKey(values(hsms), sharedTickets),
    certificates: values(certificates),
    listeners: withReservedFields(values(listeners)),
    upstreams: values(upstreams),
    signing: {
      timeoutMs: whole.signing.timeout,
      queue: whole.signing.queue,
      hedge: whole.signing.hedge,
      verify: whole.signing.verify,
    },
    tls: {
      handshakeTimeoutMs: whole.tls.handshake_timeout,
      ticketRotationMs: whole.tls.ticket_rotation,
      limits: {
        total: rateOf(whole.limits.full_handshakes),
        perAddress: rateOf(whole.limits.full_handshakes_per_address),
        exceeded: whole.limits.exceeded,
      },
    },
    sharedTickets,
    stapling: {
      cache: whole.ocsp.cache === undefined ? undefined : absolutePath(context, whole.ocsp.cache),
      timeoutMs: whole.ocsp.timeout,
      startWaitMs: whole.ocsp.start_wait,
    },
    admin: adminAddress && { address: adminAddress },
    threads: {
      tls: threadsOf(whole.threads.tls),
      http: threadsOf(whole.threads.http),
      scheduling: whole.threads.scheduling,
    },
    log: whole.log,
    audit,
    reload: { watch: whole.reload.watch, intervalMs: whole.reload.interval },
    drainTimeoutMs: whole.drain_timeout,
    warnings: report.warnings,
  })
}

/** An upstream may serve several listeners: what one tells, no client of another may say. */
function withReservedFields(listeners: readonly ListenerOptions[]): ListenerOptions[] {
  const names = reservedFields(
    listeners.map((listener) => (listener.protocol === 'http' ? listener.http.clientFields : undefined)),
  )
  return listeners.map((listener) =>
    listener.protocol === 'http'
      ? { ...listener, http: { ...listener.http, reservedFields: names } }
      : listener,
  )
}

function checkCertificatesExist(
  listeners: readonly Entry<Config['listeners'][number]>[],
  certificates: unknown,
  { report }: Context,
): void {
  if (Array.isArray(certificates) ? certificates.length > 0 : certificates !== undefined) return
  const needy = listeners.find(({ value }) => value.protocol !== 'redirect')
  if (needy !== undefined) {
    report.error(
      needy.path,
      'needs a certificate: add one to certificates (chain, and key with uri and hsms)',
    )
  }
}

function each<T, R>(
  entries: readonly Entry<T>[],
  resolveEntry: (entry: Entry<T>) => R | undefined,
): Entry<R>[] {
  return entries.flatMap((entry) => {
    const value = resolveEntry(entry)
    return value === undefined ? [] : [{ path: entry.path, name: entry.name, value }]
  })
}

function values<T>(entries: readonly Entry<T>[]): T[] {
  return entries.map(({ value }) => value)
}

function sectionsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function rateOf(entry: { per_second: number; burst: number } | undefined): Rate | undefined {
  return entry && { perSecond: entry.per_second, burst: entry.burst }
}

function threadsOf(count: number | 'auto'): number {
  return count === 'auto' ? availableParallelism() : count
}

function deepFreeze<T>(value: T): T {
  // Bytes cannot be frozen; nobody writes to a certificate.
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}

// Thousands of routes still fit.
const MAX_FILE_BYTES = 4_194_304

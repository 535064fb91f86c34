/**
 * What a configuration says of keys and HSMs, also while other parts of it cannot be used yet.
 *
 * The first key is generated before there is a certificate, so a certificate file that is missing is no reason to refuse;
 * an HSM that is wrong is.
 */

import { dirname, resolve } from 'node:path'

import type { AuditOptions } from '../audit/options.ts'
import { ConfigError } from '../errors.ts'
import type { HsmOptions, KeyOptions } from '../hsm/options.ts'
import type { CertificateOptions } from '../tls/options.ts'
import { resolveAudit } from './audit.ts'
import { readCertificateFile } from './certificate-file.ts'
import { resolveKey } from './certificates.ts'
import { type Path, parseConfigDocument, pathText } from './document.ts'
import { type Context, declaredNames, soundEntries } from './entries.ts'
import { readTextFile } from './files.ts'
import { resolveHsm } from './hsms.ts'
import { Report } from './report.ts'
import { auditSchema, configSchema, hsmSchema, keySchema } from './schema.ts'
import { sound, structureFindings } from './structure.ts'

export interface KeyInventory {
  /** Absolute. */
  readonly file: string
  readonly text: string
  readonly hsms: readonly HsmOptions[]
  readonly uses: readonly KeyUse[]
  /** Where the proxy answers; port 0 is nowhere that is known. */
  readonly admin: { readonly host: string; readonly port: number } | undefined
  readonly audit: AuditOptions | undefined
}

/** One place of the configuration that names a key. */
export interface KeyUse {
  /** e.g. `certificates[0]`. */
  readonly place: string
  /** Of the map with the `uri`. */
  readonly path: Path
  readonly key: KeyOptions
  /** Absolute path of the certificate chain; undefined: the key has another purpose. */
  readonly chain: string | undefined
  /** The chain, if it can be read. */
  readonly certificate: CertificateOptions | undefined
}

/** @throws {ConfigError} what is wrong with the file, its HSMs and its keys; nothing else. */
export function loadKeyInventory(file: string): KeyInventory {
  const path = resolve(file)
  const read = readTextFile(path, { maxBytes: MAX_FILE_BYTES, encoding: 'utf8' })
  if ('error' in read) {
    const message = `${read.reason}; name the configuration with --config FILE`
    throw new ConfigError([{ code: 'ERR_CONFIG_FILE', file: path, path: '', message }])
  }
  const document = parseConfigDocument(path, read.text)
  const report = new Report(document)
  const context: Context = { report, directory: dirname(path), nowMs: Date.now(), environment: process.env }
  for (const finding of structureFindings(configSchema, document.value)) {
    if (CONCERNS.has(String(finding.path[0]))) report.find(finding)
  }
  const raw = typeof document.value === 'object' && document.value !== null ? { ...document.value } : {}
  const sections: Readonly<Record<string, unknown>> = raw
  const hsmNames = declaredNames(sections['hsms'])
  const hsms = soundEntries(hsmSchema, 'hsms', sections['hsms']).flatMap(
    (entry) => resolveHsm(entry, context) ?? [],
  )
  const uses = keyEntries(document.value, []).flatMap(({ path, key, chain }): KeyUse[] => {
    const entry = sound(keySchema, key)
    const resolved = entry && resolveKey(path, entry, hsmNames, context, objectType(entry.uri))
    if (resolved === undefined) return []
    const chainFile = typeof chain === 'string' ? resolve(context.directory, chain) : undefined
    const certificate = chainFile === undefined ? undefined : readCertificateFile(chainFile).certificate
    // The key of a certificate is known by its certificate.
    const place = path.at(-1) === 'key' ? path.slice(0, -1) : path
    return [{ place: pathText(place), path, key: resolved, chain: chainFile, certificate }]
  })
  report.throwIfAny()
  const admin = sound(configSchema.shape.admin, sections['admin'])
  return {
    file: path,
    text: read.text,
    hsms,
    uses,
    admin: typeof admin === 'object' ? admin.address : undefined,
    audit: auditOf(sections['audit'], hsmNames, context),
  }
}

/** A journal needs the file of the audit log; what is wrong with its checkpoints is for `check` to say. */
function auditOf(raw: unknown, hsmNames: ReadonlySet<string>, context: Context): AuditOptions | undefined {
  const report = new Report(parseConfigDocument('', ''))
  return resolveAudit(sound(auditSchema, raw), { hsmNames, certificates: [] }, { ...context, report })
}

/** Session-ticket keys are wrapped by a secret key; everything else here is done with private ones. */
function objectType(uri: string): 'private' | 'secret-key' {
  return /[:;]type=secret-key(?:;|$)/.test(uri) ? 'secret-key' : 'private'
}

/** Whatever has a PKCS#11 URI, wherever it stands: a purpose that comes later is not forgotten here. */
function keyEntries(value: unknown, path: Path): readonly KeyEntry[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]): readonly KeyEntry[] => {
    const innerPath = [...path, Array.isArray(value) ? Number(name) : name]
    if (!isKey(inner)) return keyEntries(inner, innerPath)
    return [{ path: innerPath, key: inner, chain: 'chain' in value ? value.chain : undefined }]
  })
}

interface KeyEntry {
  readonly path: Path
  readonly key: object
  readonly chain: unknown
}

function isKey(value: unknown): value is object {
  return typeof value === 'object' && value !== null && 'uri' in value && typeof value.uri === 'string'
}

const CONCERNS: ReadonlySet<string> = new Set(['hsms'])
const MAX_FILE_BYTES = 4_194_304

/** `certificates` → CertificateOptions and KeyOptions: readable chains, and keys that can be found. */

import type { KeyOptions, KeySelector } from '../hsm/options.ts'
import type { StaplingSource } from '../stapling/options.ts'
import type { CertificateOptions } from '../tls/options.ts'
import { readCertificateFile } from './certificate-file.ts'
import type { Path } from './document.ts'
import { absolutePath, type Context, checkReference, type Entry } from './entries.ts'
import { type Pkcs11Uri, parsePkcs11Uri, redactPkcs11Uri } from './pkcs11-uri.ts'
import type { CertificateEntry, KeyEntry } from './schema.ts'
import { resolveStapling } from './stapling.ts'
import type { OcspEntry } from './stapling-schema.ts'
import { resolveCertificatePolicy } from './tls-policy.ts'

/** `type` of RFC 7512. */
type KeyClass = 'private' | 'secret-key'

export interface ResolvedCertificate {
  readonly certificate: CertificateOptions
  readonly key: KeyOptions
  readonly stapling: StaplingSource
}

export function resolveCertificate(
  entry: Entry<CertificateEntry>,
  hsmNames: ReadonlySet<string>,
  ocsp: OcspEntry | undefined,
  context: Context,
): ResolvedCertificate | undefined {
  const { path, value } = entry
  const certificate = resolveChain([...path, 'chain'], value.chain, context)
  const key = resolveKey([...path, 'key'], value.key, hsmNames, context)
  const policy = value.tls && resolveCertificatePolicy([...path, 'tls'], value.tls, context)
  const stapling = resolveStapling({ path: [...path, 'ocsp'], entry: value.ocsp, ocsp }, certificate, context)
  return certificate && key && { certificate: { ...certificate, ...(policy && { policy }) }, key, stapling }
}

/** A key that can be found, and members that exist. */
export function resolveKey(
  path: Path,
  entry: KeyEntry,
  hsmNames: ReadonlySet<string>,
  context: Context,
  type: KeyClass = 'private',
): KeyOptions | undefined {
  const selector = resolveUri([...path, 'uri'], entry.uri, type, context)
  checkMembers([...path, 'hsms'], entry.hsms, hsmNames, context)
  const byHsm = resolveUris([...path, 'uris'], entry, type, context)
  return selector && { ...selector, hsms: entry.hsms, byHsm }
}

/** TLS chooses by name and key type: a second certificate with both equal would never be used. */
export function warnAboutShadowed(
  certificates: readonly Entry<ResolvedCertificate>[],
  { report }: Context,
): void {
  const first = new Map<string, CertificateOptions>()
  for (const { path, value } of certificates) {
    const { names, keyType, file } = value.certificate
    for (const name of names) {
      const key = `${keyType} ${name}`
      const other = first.get(key)
      if (other === undefined) first.set(key, value.certificate)
      else {
        report.warn(
          path,
          `${file} and ${other.file} are both for "${name}" with the same key type (${keyType}): one certificate per name and key type is used`,
        )
        break
      }
    }
  }
}

function resolveChain(path: Path, chain: string, context: Context): CertificateOptions | undefined {
  const { certificate, problems } = readCertificateFile(absolutePath(context, chain), context.nowMs)
  for (const { level, message } of problems) {
    if (level === 'warning') context.report.warn(path, message)
    else
      context.report.error(path, message, level === 'secret' ? 'ERR_CONFIG_SECRET' : 'ERR_CONFIG_CERTIFICATE')
  }
  return certificate
}

function resolveUris(path: Path, key: KeyEntry, type: KeyClass, context: Context): KeyOptions['byHsm'] {
  const resolved = Object.entries(key.uris).flatMap(([hsm, uri]): [string, KeySelector][] => {
    if (!key.hsms.includes(hsm)) {
      const cure = `name it there too, or take it out here; there are: ${key.hsms.join(', ')}`
      context.report.error([...path, hsm], `"${hsm}" is not among this key's hsms: ${cure}`)
    }
    const selector = resolveUri([...path, hsm], uri, type, context)
    return selector === undefined ? [] : [[hsm, selector]]
  })
  return resolved.length === 0 ? undefined : new Map(resolved)
}

function resolveUri(path: Path, text: string, type: KeyClass, { report }: Context): KeySelector | undefined {
  // First of all, and also in a URI that is wrong elsewhere: nothing below may come to quote it.
  if (redactPkcs11Uri(text) !== text) {
    report.error(
      path,
      'holds a PIN (pin-value): take it out, change the PIN, and name its file in hsms.NAME.pin',
      'ERR_CONFIG_SECRET',
    )
    return undefined
  }
  const parsed = parsePkcs11Uri(text)
  if ('error' in parsed) {
    report.error(path, `${parsed.error}; a key is named like pkcs11:object=web;type=${type}`)
    return undefined
  }
  const fault = uriFault(parsed.uri, type)
  if (fault !== undefined) {
    report.error(path, fault)
    return undefined
  }
  const object = parsed.uri.path.get('object')
  return { label: object && new TextDecoder().decode(object), id: parsed.uri.path.get('id'), uri: text }
}

function uriFault({ path, query }: Pkcs11Uri, wanted: KeyClass): string | undefined {
  if (query.has('pin-source')) return 'pin-source is not read here: name the PIN file in hsms.NAME.pin'
  if (query.size > 0)
    return `${[...query].join(' and ')} is not read here: name the module in hsms.NAME.module`
  const others = [...path.keys()].filter((name) => !KEY_ATTRIBUTES.has(name))
  if (others.length > 0) {
    return `${others.join(', ')} ${others.length > 1 ? 'do' : 'does'} not belong here: keep object, id and type; the token is chosen by hsms, because each member has its own`
  }
  const type = path.get('type')
  if (type !== undefined && new TextDecoder().decode(type) !== wanted)
    return `names no ${wanted.replace('-key', '')} key: write type=${wanted}`
  const object = path.get('object')
  const id = path.get('id')
  if (object === undefined && id === undefined) return 'names no object: give object=LABEL, id=%01, or both'
  if (object?.length === 0 || id?.length === 0) return 'has an empty object or id, which could be any key'
  if (object !== undefined && !isUtf8(object)) return 'the label (object) is not UTF-8'
  return undefined
}

function checkMembers(
  path: Path,
  members: readonly string[],
  names: ReadonlySet<string>,
  { report }: Context,
): void {
  for (const [index, name] of members.entries()) {
    if (members.indexOf(name) < index) report.error([...path, index], `"${name}" is named twice`)
    else checkReference(report, [...path, index], { name, section: 'hsms', names })
  }
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return true
  } catch {
    return false
  }
}

const KEY_ATTRIBUTES: ReadonlySet<string> = new Set(['object', 'id', 'type'])

/** `client_certificate` of listeners → ClientAuthenticationOptions and ClientFields. */

import type { ClientFields, Route } from '../proxy/options.ts'
import type { AllowRule, ClientAuthenticationOptions } from '../tls/options.ts'
import type { ClientCertificateEntry, HttpClientCertificateEntry } from './client-certificate-schema.ts'
import type { Path } from './document.ts'
import { absolutePath, type Context } from './entries.ts'
import { readTrustFiles } from './trust-files.ts'

/** @param path of `client_certificate`. */
export function resolveClientAuthentication(
  path: Path,
  entry: ClientCertificateEntry | HttpClientCertificateEntry | undefined,
  context: Context,
): ClientAuthenticationOptions | undefined {
  if (entry === undefined) return undefined
  const files = {
    authorities: [absolutePath(context, entry.ca)],
    revocationLists: (entry.crl ?? []).map((file) => absolutePath(context, file)),
  }
  const { trust, problems } = readTrustFiles(files, context.nowMs)
  for (const { level, file, message } of problems) {
    const list = files.revocationLists.indexOf(file)
    const place: Path = list < 0 ? [...path, 'ca'] : [...path, 'crl', list]
    if (level === 'error') context.report.error(place, message, 'ERR_CONFIG_CERTIFICATE')
    else context.report.warn(place, message)
  }
  return {
    mode: entry.mode,
    files,
    trust,
    checkRevocation: entry.crl_check,
    depth: entry.depth,
    allow: resolveRules([...path, 'allow'], entry.allow, context),
    keepChain: 'headers' in entry && entry.headers.chain !== OFF,
  }
}

export function resolveClientFields(
  path: Path,
  entry: HttpClientCertificateEntry | undefined,
  { report }: Context,
): ClientFields | undefined {
  if (entry === undefined) return undefined
  const { headers } = entry
  const taken = new Set<string>()
  for (const [key, name] of Object.entries(headers)) {
    const lower = name.toLowerCase()
    if (name === OFF) continue
    if (RESERVED.test(lower)) {
      report.error([...path, 'headers', key], `${name} has a meaning of its own: choose another name`)
    } else if (taken.has(lower)) report.error([...path, 'headers', key], `${name} is used twice`)
    taken.add(lower)
  }
  const named = (name: string): string | undefined => (name === OFF ? undefined : name)
  return {
    certificate: named(headers.certificate),
    chain: named(headers.chain),
    subject: named(headers.subject),
    subjectAltNames: named(headers.san),
    serial: named(headers.serial),
    fingerprint: named(headers.fingerprint),
  }
}

/** Lower-case names of all headers that any listener tells its upstreams about clients in. */
export function reservedFields(listeners: readonly (ClientFields | undefined)[]): readonly string[] {
  const names = listeners.flatMap((fields) => Object.values(fields ?? {}))
  return [...new Set(names.flatMap((name: string | undefined) => name?.toLowerCase() ?? []))]
}

/** A route can require only what its listener asks for. */
export function checkRouteRequirement(
  path: Path,
  route: Pick<Route, 'requireClientCertificate'>,
  listener: HttpClientCertificateEntry | undefined,
  { report }: Context,
): void {
  if (route.requireClientCertificate !== true || listener !== undefined) return
  report.error(
    path,
    'needs a listener that asks for certificates: give the listener client_certificate with mode: request and ca',
  )
}

function resolveRules(
  path: Path,
  allow: ClientCertificateEntry['allow'],
  { report }: Context,
): readonly AllowRule[] {
  if (allow === undefined) return []
  const rules: AllowRule[] = []
  for (const kind of RULE_KINDS) {
    for (const [index, text] of allow[kind].entries()) {
      const pattern = kind === 'spki' ? text.replace(/^sha256\/\//, '') : text
      const { form, cure } = RULE_FORMS[kind]
      if (form.test(pattern)) rules.push({ kind, pattern })
      else report.error([...path, kind, index], cure)
    }
  }
  const given = RULE_KINDS.reduce((sum, kind) => sum + allow[kind].length, 0)
  if (given === 0) report.error(path, 'is empty: nobody would be let in; name somebody, or remove the key')
  return rules
}

const OFF = 'off'
const RULE_KINDS = ['dns', 'uri', 'spiffe', 'email', 'spki'] as const
const RULE_FORMS: Readonly<Record<AllowRule['kind'], { form: RegExp; cure: string }>> = {
  dns: {
    form: /^(?:\*\.)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?$/,
    cure: 'is no DNS name: write it exact (a.example.com) or with a wildcard for its first label (*.example.com)',
  },
  uri: {
    form: /^[A-Za-z][A-Za-z0-9+.-]*:[^*\s]+(?:(?<=\/)\*)?$/,
    cure: 'is no URI: write it exact, or with /* at the end for everything beneath',
  },
  spiffe: {
    form: /^spiffe:\/\/[a-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*(?:\/\*)?$/,
    cure: 'is no SPIFFE ID: write spiffe://trust-domain/path (trust domain in lower case), exact or with /* at the end',
  },
  email: { form: /^[^\s@*]+@[^\s@*]+$/, cure: 'is no email address' },
  spki: {
    form: /^[A-Za-z0-9+/]{43}=$/,
    cure: 'is no pin: write the base64 of the SHA-256 of the public key (openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)',
  },
}
/** Framing, routing, credentials of others, and what Sealgate itself sets. */
const RESERVED =
  /^(?:host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|content-.*|upgrade|expect|cookie|authorization|accept.*|forwarded|via|x-real-ip|x-forwarded-(?:for|proto|host|port))$/

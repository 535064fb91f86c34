/** What happens to each request header field: one table, and a cache in front of it. */

import { CLIENT_CERTIFICATE_FIELDS, removeFields } from './client-fields.ts'

export type FieldAction =
  | 'forward'
  | 'drop'
  | 'host'
  | 'connection'
  | 'cookie'
  | 'content-length'
  | 'transfer-encoding'

export interface FieldRule {
  readonly action: FieldAction
  /** As the client wrote it. */
  readonly name: string
}

/**
 * @param name as received, any case.
 * Names repeat from request to request: a look-up by the name as written saves lower-casing and comparing.
 */
export function fieldRule(name: string): FieldRule {
  const known = cache.get(name)
  if (known !== undefined) return known
  const rule: FieldRule = { action: actionFor(name.toLowerCase()), name }
  // Bounded: names are chosen by strangers.
  if (cache.size < CACHE_ENTRIES && name.length <= CACHE_NAME_LENGTH) cache.set(name, rule)
  return rule
}

/**
 * Removes the fields that a Connection field names: they are for one hop only (RFC 9110 §7.6.1).
 * @param headers flat name/value list, changed in place.
 */
export function removeNominated(headers: string[], connection: string): void {
  if (NO_FIELD.test(connection)) return
  const names = new Set(connection.split(',').map((name) => name.trim().toLowerCase()))
  // A sender must not be able to remove the framing of a message.
  names.delete('content-length')
  removeFields(headers, (name) => names.has(name.toLowerCase()))
}

/** What nearly everybody sends; it names no field. */
const NO_FIELD = /^(?:keep-alive|close)$/i

/** RFC 9110 §7.6.1 and §10.1.1 (Expect is answered here); by lower-case name. */
const ACTIONS: ReadonlyMap<string, FieldAction> = new Map([
  ['connection', 'connection'],
  ['proxy-connection', 'drop'],
  ['keep-alive', 'drop'],
  ['upgrade', 'drop'],
  ['http2-settings', 'drop'],
  // It would need a Connection field that names it (RFC 9110 §10.1.4), and undici sends its own. Trailers come all the same.
  ['te', 'drop'],
  ['expect', 'drop'],
  ['transfer-encoding', 'transfer-encoding'],
  ['content-length', 'content-length'],
  ['host', 'host'],
  ['cookie', 'cookie'],
  ['forwarded', 'drop'],
  ['x-real-ip', 'drop'],
  ...CLIENT_CERTIFICATE_FIELDS.map((name): [string, FieldAction] => [name, 'drop']),
])

function actionFor(name: string): FieldAction {
  if (name.startsWith(':')) return 'drop'
  // CGI and WSGI read `_` and `-` as the same: X_Forwarded_For would reach the application as X-Forwarded-For.
  const canonical = name.replaceAll('_', '-')
  if (canonical.startsWith('x-forwarded-')) return 'drop'
  if (canonical !== name) return ACTIONS.has(canonical) ? 'drop' : 'forward'
  return ACTIONS.get(name) ?? 'forward'
}

const CACHE_ENTRIES = 1000
const CACHE_NAME_LENGTH = 64
const cache = new Map<string, FieldRule>()

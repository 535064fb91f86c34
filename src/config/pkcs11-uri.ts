/** PKCS#11 URIs (RFC 7512): which object on a token. */

/** Attributes that may appear once, before the `?` (RFC 7512 §2.3). */
const PATH_ATTRIBUTES = [
  'token',
  'manufacturer',
  'serial',
  'model',
  'library-manufacturer',
  'library-version',
  'library-description',
  'object',
  'type',
  'id',
  'slot-description',
  'slot-manufacturer',
  'slot-id',
] as const
const QUERY_ATTRIBUTES = ['pin-source', 'pin-value', 'module-name', 'module-path'] as const

export type PathAttribute = (typeof PATH_ATTRIBUTES)[number]
export type QueryAttribute = (typeof QUERY_ATTRIBUTES)[number]

export interface Pkcs11Uri {
  /** Percent-decoded bytes: `id` (CKA_ID) is binary, the others are UTF-8. */
  readonly path: ReadonlyMap<PathAttribute, Uint8Array>
  /** Names only: the one value that is not our business is a PIN. */
  readonly query: ReadonlySet<QueryAttribute>
}

/** What is wrong with a URI, in words that never quote a PIN. */
export type Pkcs11UriResult = { readonly uri: Pkcs11Uri } | { readonly error: string }

const SCHEME = 'pkcs11:'
// pchar of RFC 3986 without `;` `&` `=`, plus what RFC 7512 §2.3 allows beyond it.
const VALUE = /^(?:[A-Za-z0-9\-._~:[\]@!$'()*+,/?&=|]|%[0-9A-Fa-f]{2})*$/

export function parsePkcs11Uri(text: string): Pkcs11UriResult {
  if (!text.toLowerCase().startsWith(SCHEME)) return { error: 'a PKCS#11 URI starts with "pkcs11:"' }
  const [pathText = '', queryText, ...rest] = text.slice(SCHEME.length).split('?')
  if (rest.length > 0) return { error: 'a PKCS#11 URI has at most one "?"' }

  const path = new Map<PathAttribute, Uint8Array>()
  for (const part of split(pathText, ';')) {
    const { name, value } = nameAndValue(part)
    // Vendor attributes start with `x-`; nobody can say what an unknown one selects (RFC 7512 §2.3).
    if (!isOneOf(PATH_ATTRIBUTES, name)) return { error: `unknown attribute "${name}"` }
    if (path.has(name)) return { error: `"${name}" is given twice` }
    if (value === undefined) return { error: `"${name}" has no value: write ${name}=...` }
    if (!VALUE.test(value)) {
      return { error: `the value of "${name}" has a character that must be percent-encoded` }
    }
    path.set(name, percentDecode(value))
  }

  const query = new Set<QueryAttribute>()
  for (const part of split(queryText ?? '', '&')) {
    const { name } = nameAndValue(part)
    if (!isOneOf(QUERY_ATTRIBUTES, name)) return { error: `unknown query attribute "${name}"` }
    query.add(name)
  }
  return { uri: { path, query } }
}

/** The URI as it may be shown: the value of `pin-value`, wherever it stands, is replaced. */
export function redactPkcs11Uri(text: string): string {
  return text.replace(/(pin-value\s*(?:=|%3d))[^&;?\s]*/gi, '$1[secret]')
}

function split(text: string, separator: string): string[] {
  return text === '' ? [] : text.split(separator)
}

function nameAndValue(part: string): { name: string; value: string | undefined } {
  const equals = part.indexOf('=')
  return equals < 0
    ? { name: part, value: undefined }
    : { name: part.slice(0, equals), value: part.slice(equals + 1) }
}

function isOneOf<T extends string>(names: readonly T[], name: string): name is T {
  return names.some((known) => known === name)
}

function percentDecode(value: string): Uint8Array {
  // decodeURIComponent would insist on UTF-8, and an id is any bytes.
  const bytes: number[] = []
  for (let index = 0; index < value.length; index++) {
    if (value[index] === '%') {
      bytes.push(Number.parseInt(value.slice(index + 1, index + 3), 16))
      index += 2
    } else {
      bytes.push(value.charCodeAt(index))
    }
  }
  return Uint8Array.from(bytes)
}

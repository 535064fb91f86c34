/**
 * What a path names. Servers differ in how they read one, and a route's rule must hold for `/%61dmin` as it does for
 * `/admin`; so routes compare paths in one form. Upstreams get them as they came.
 */

/**
 * The path of a target with escapes decoded, slashes merged and dot segments resolved (RFC 3986 §6.2.2); the query as it came.
 * An encoded slash stays encoded: it is part of a name.
 */
export function normalPath(target: string): string {
  const path = beforeQuery(target)
  if (!UNUSUAL.test(path)) return target
  return resolved(decoded(path)) + target.slice(path.length)
}

/** As a path of the configuration is compared: a request line has the bytes of its UTF-8. */
export function normalPrefix(path: string): string {
  return normalPath(Buffer.from(path, 'utf8').toString('latin1'))
}

/**
 * The path as other servers read it; empty when they read it like that anyway. Some take encoded slashes and backslashes for
 * slashes, who resolves a target as a reference (RFC 3986 §4.2; `new URL(target, base)`) takes what follows two slashes for a
 * host: `//a/b` is `/b` there, and Java's servers drop the parameters of a segment (RFC 3986 §3.3), before or after they decode
 * it: `/a;x=1/b` is `/a/b` to Tomcat.
 *
 * 'ambiguous': servers disagree about what it names. `/a//../b` is `/b` for one that merges slashes first and `/a/b` for
 * another, a server without dot segments serves `/a/../b` beneath `/a`, Tomcat reads `..;` as `..`, and a fragment, which no
 * target has (RFC 9112 §3.2), may be cut off or not. Clients resolve these before they ask.
 */
export function otherReadings(target: string): readonly string[] | 'ambiguous' {
  const path = beforeQuery(target)
  if (!UNUSUAL.test(path)) return []
  const readings = [
    withSlashes(path),
    withoutParameters(withSlashes(path)),
    withSlashes(withoutParameters(path)),
  ]
  if (path.includes('#') || readings.some((reading) => /\/\.\.(?:[/;]|$)/.test(reading))) return 'ambiguous'
  const behindHosts = readings.map((reading) => reading.replace(/^\/{2,}[^/]*/, ''))
  return [...new Set([...readings, ...behindHosts].map(resolved))]
}

/** Only a path with one of these can be read in more than one way. */
const UNUSUAL = /[%\\#;]|\/[./]/

function beforeQuery(target: string): string {
  const query = target.indexOf('?')
  return query < 0 ? target : target.slice(0, query)
}

function withSlashes(path: string): string {
  return decoded(path).replace(/%2F|%5C|\\/g, '/')
}

function withoutParameters(path: string): string {
  return path.replace(/;[^/]*/g, '')
}

function decoded(path: string): string {
  return path.replace(/%[0-9A-Fa-f]{2}/g, (triplet) => {
    const character = String.fromCharCode(Number.parseInt(triplet.slice(1), 16))
    return KEPT.has(character) ? triplet.toUpperCase() : character
  })
}

/** Decoded, they would end a segment, the path or the escape that they are part of. */
const KEPT: ReadonlySet<string> = new Set(['/', '\\', '?', '#', '%'])

function resolved(path: string): string {
  const segments = path.split(/\/+/)
  const names: string[] = []
  for (const segment of segments) {
    if (segment === '..') names.pop()
    else if (segment !== '.' && segment !== '') names.push(segment)
  }
  const open = ['', '.', '..'].includes(segments.at(-1) ?? '') && names.length > 0
  return `/${names.join('/')}${open ? '/' : ''}`
}

/**
 * Does a host name fit a pattern of the configuration: exact, or `*.` for its first label?
 *
 * @param pattern lower case; undefined fits every name.
 */
export function namePattern(pattern: string | undefined): (name: string) => boolean {
  if (pattern === undefined) return () => true
  if (!pattern.startsWith('*.')) return (name) => name === pattern
  const suffix = pattern.slice(1)
  // One label stands for the asterisk, as in certificates (RFC 9525 §6.3).
  return (name) =>
    name.endsWith(suffix) && name.indexOf('.') === name.length - suffix.length && name[0] !== '.'
}

/** Which Node this needs. Imports nothing: an older one does not get further than to the first name that it lacks. */

/** As package.json, "engines". */
export const OLDEST_NODE = '20.18.1'

/** @param version as `process.versions.node`. @returns what is wrong with it. */
export function nodeProblem(version: string): string | undefined {
  const [have, need] = [version, OLDEST_NODE].map((text) => text.split('.').map(Number.parseFloat))
  const different = need?.findIndex((part, index) => part !== have?.[index]) ?? -1
  if (different < 0 || (have?.[different] ?? 0) > (need?.[different] ?? 0)) return undefined
  return `Sealgate needs Node ${OLDEST_NODE} or newer; this is Node ${version} (${process.execPath})`
}

/**
 * The sections of a configuration, entry by entry: one broken entry does not hide what is wrong with the others.
 */

import { resolve } from 'node:path'
import type { z } from 'zod'
import type { Path } from './document.ts'
import { suggestion } from './nearest.ts'
import type { Report } from './report.ts'
import { sound } from './structure.ts'

/** What the resolvers need besides the entries. */
export interface Context {
  readonly report: Report
  /** Directory of the configuration file; absolute. */
  readonly directory: string
  /** Wall-clock time, for expiry. */
  readonly nowMs: number
  readonly environment: Readonly<Record<string, string | undefined>>
}

export interface Entry<T> {
  readonly path: Path
  /** Key in a map; position, as text, in a list. */
  readonly name: string
  readonly value: T
}

/** The entries of a map or list that fit the schema, in the order of the file. */
export function soundEntries<T extends z.ZodType>(
  schema: T,
  section: string,
  value: unknown,
): Entry<z.output<T>>[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, raw]) => {
    const entry = sound(schema, raw)
    const path: Path = [section, Array.isArray(value) ? Number(name) : name]
    return entry === undefined ? [] : [{ path, name, value: entry }]
  })
}

/** Every name of a section, also of entries with problems of their own: a reference to those is not dangling. */
export function declaredNames(value: unknown): ReadonlySet<string> {
  return new Set(typeof value === 'object' && value !== null ? Object.keys(value) : [])
}

/** @returns whether the name exists; reports it when not. */
export function checkReference(
  report: Report,
  path: Path,
  reference: { readonly name: string; readonly section: string; readonly names: ReadonlySet<string> },
): boolean {
  const { name, section, names } = reference
  if (names.has(name)) return true
  const known = names.size === 0 ? `: ${section} is empty` : `; there are: ${[...names].join(', ')}`
  report.error(path, `there is no "${name}" in ${section}${suggestion(name, names) || known}`)
  return false
}

/** Entries that nothing refers to are served by nobody: most often a slip elsewhere. */
export function warnUnused(
  report: Report,
  section: string,
  names: ReadonlySet<string>,
  used: ReadonlySet<string>,
): void {
  for (const name of names) {
    if (!used.has(name))
      report.warn([section, name], 'nothing uses it; remove it, or name it where it belongs')
  }
}

export function absolutePath(context: Context, path: string): string {
  return resolve(context.directory, path)
}

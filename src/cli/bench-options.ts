/** Values on the command line of `sealgate bench`, and what is said when they are none. */

import { suggestion } from '../config/nearest.ts'
import { SIGNATURE_SCHEMES, type SignatureSchemeName } from '../signing.ts'
import { usage } from './module-options.ts'

/** @returns seconds, more than 0 and at most a day. */
export function parseSeconds(option: string, text: string): number {
  const value = Number(text.replace(/s$/, ''))
  if (Number.isFinite(value) && value > 0 && value <= DAY_S) return value
  throw usage(`${option} ${text}: give seconds, more than 0, such as 3 or 0.5`)
}

/** @returns 0 to less than 1; `70%` is 0.7. */
export function parseShare(option: string, text: string): number {
  const value = text.endsWith('%') ? Number(text.slice(0, -1)) / 100 : Number(text)
  if (text.trim() !== '' && value >= 0 && value < 1) return value
  throw usage(`${option} ${text}: give a share from 0 to less than 1, such as 0.7 or 70%`)
}

/** @returns a number above 0. @param unit that may stand behind it, e.g. `/s`. */
export function parsePositive(option: string, text: string, unit = ''): number {
  const value = Number(unit !== '' && text.endsWith(unit) ? text.slice(0, -unit.length) : text)
  if (Number.isFinite(value) && value > 0) return value
  throw usage(`${option} ${text}: give a number above 0${unit === '' ? '' : `, such as 500${unit}`}`)
}

/** @returns a whole number from 1 to `max`. */
export function parseCount(option: string, text: string, max: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1 && value <= max) return value
  throw usage(`${option} ${text}: give a whole number from 1 to ${max}`)
}

/** @returns in ascending order, each once. */
export function parseSessions(text: string, max: number): readonly number[] {
  const counts = text.split(',').map((part) => parseCount('--sessions', part.trim(), max))
  return [...new Set(counts)].sort((a, b) => a - b)
}

export function parseSchemes(text: string): ReadonlySet<SignatureSchemeName> {
  const names = Object.keys(SIGNATURE_SCHEMES)
  return new Set(
    text.split(',').map((part) => {
      const name = part.trim()
      if (isScheme(name)) return name
      throw usage(
        `--schemes ${name}: no such scheme${suggestion(name, names)}; there are: ${names.join(', ')}`,
      )
    }),
  )
}

function isScheme(name: string): name is SignatureSchemeName {
  return Object.hasOwn(SIGNATURE_SCHEMES, name)
}

const DAY_S = 86_400

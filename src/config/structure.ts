/** Checks a document against the schema and says what is wrong in words an operator can act on. */

import { z } from 'zod'
import type { ConfigProblem } from '../errors.ts'
import type { Path } from './document.ts'
import { suggestion } from './nearest.ts'

/** A problem that does not know its line yet. */
export interface Finding {
  readonly code: ConfigProblem['code']
  readonly path: Path
  readonly message: string
  /** Point at the key, not at its value. */
  readonly at: 'key' | 'value'
}

/** Every way in which the value departs from the schema; empty when it fits. */
export function structureFindings(schema: z.ZodType, value: unknown): readonly Finding[] {
  const result = schema.safeParse(value, { error: words })
  return result.success ? [] : result.error.issues.flatMap((issue) => findingsOf(issue, []))
}

/**
 * The value as the schema gives it, without the keys that do not fit: `structureFindings` has named those, and
 * what is left can still be checked. Undefined when too little is left.
 */
export function sound<T extends z.ZodType>(schema: T, value: unknown): z.output<T> | undefined {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const rest = structuredClone(value)
  for (const finding of result.error.issues.flatMap((issue) => findingsOf(issue, []))) {
    removeKey(rest, finding.path)
  }
  return schema.safeParse(rest).data
}

function removeKey(value: unknown, path: Path): void {
  const [step, ...rest] = path
  if (!isObject(value) || step === undefined) return
  if (rest.length === 0) Reflect.deleteProperty(value, step)
  else removeKey(Reflect.get(value, step), rest)
}

function findingsOf(issue: z.core.$ZodIssue, parents: Path): Finding[] {
  const path = [...parents, ...issue.path]
  if (issue.code === 'unrecognized_keys') {
    const known = issue.message.split(KNOWN_KEYS_SEPARATOR)
    return issue.keys.map((key) => unknownKey(path, key, known))
  }
  if (issue.code === 'invalid_union') {
    // The alternative that was meant is the one that got past the outermost type.
    const meant = issue.errors.find((issues) =>
      issues.some((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys'),
    )
    if (meant !== undefined) return meant.flatMap((inner) => findingsOf(inner, path))
  }
  const cure = secretCure(path)
  if (cure !== undefined) return [{ code: 'ERR_CONFIG_SECRET', path, message: cure, at: 'value' }]
  return [
    {
      code: 'ERR_CONFIG_VALUE',
      path,
      message: issue.message,
      at: issue.code === 'invalid_key' ? 'key' : 'value',
    },
  ]
}

function unknownKey(path: Path, key: string, known: readonly string[]): Finding {
  const nearest = suggestion(key, known)
  const names = `known here: ${known.join(', ')}`
  // `pin: { 1234 }` is a map whose key is the secret; one that is nearly `file` is none.
  if (nearest === '' && secretCure(path) !== undefined) {
    const message = `has a key that is not known, and is not repeated since it may be the secret; ${names}`
    return { code: 'ERR_CONFIG_SECRET', path, message, at: 'value' }
  }
  return {
    code: 'ERR_CONFIG_UNKNOWN_KEY',
    path: [...path, key],
    message: `unknown key${nearest || `; ${names}`}`,
    at: 'key',
  }
}

/** zod asks for words while it still knows the schema; for unknown keys they carry the known ones on. */
function words(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.inst instanceof z.ZodObject
        ? Object.keys(issue.inst.shape).join(KNOWN_KEYS_SEPARATOR)
        : undefined
    case 'invalid_type':
      return wrongType(issue.expected, issue.input)
    case 'invalid_value':
      return `must be ${oneOf(issue.values)}${typeof issue.input === 'string' ? suggestion(issue.input, issue.values.map(String)) : ''}`
    case 'invalid_union':
      if (Array.isArray(issue.options))
        return isObject(issue.input) ? `must be ${oneOf(issue.options)}` : wrongType('object', issue.input)
      return undefined
    case 'invalid_key':
      return issue.issues[0]?.message
    case 'too_small':
      return `is too small: at least ${issue.minimum}`
    case 'too_big':
      return `is too large: at most ${issue.maximum}`
    default:
      return undefined
  }
}

function wrongType(expected: string, input: unknown): string {
  if (input === undefined) return 'is missing'
  if (input === null) return 'is empty: give it a value or remove the key'
  if (expected === 'string') return `must be text, not ${typeName(input)}: put it in quotes`
  return `must be ${TYPE_NAMES[expected] ?? expected}, not ${typeName(input)}`
}

function typeName(value: unknown): string {
  const type = Array.isArray(value) ? 'array' : typeof value
  return TYPE_NAMES[type] ?? type
}

function oneOf(values: readonly unknown[]): string {
  const texts = values.map(String)
  return texts.length < 2 ? texts.join() : `${texts.slice(0, -1).join(', ')} or ${texts.at(-1)}`
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whatever stands there instead of a map may be the secret itself, and is never repeated. */
function secretCure(path: Path): string | undefined {
  if (path.length === 3 && path[0] === 'hsms' && path[2] === 'pin') return PIN_CURE
  return path.join('.') === 'tls.tickets.shared.redis.password' ? PASSWORD_CURE : undefined
}

const KNOWN_KEYS_SEPARATOR = ' '
const PIN_CURE =
  'the PIN is not written here: put it into a file that only Sealgate can read and write pin: { file: /run/secrets/hsm.pin }'
const PASSWORD_CURE =
  'the password is not written here: put it into a file that only Sealgate can read and write password: { file: /run/secrets/redis }'
const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  record: 'a map',
  array: 'a list',
}

/** What a rotation has done so far: a file beside the configuration, without secrets, written whole after each step. */

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'

import { SealgateError } from '../errors.ts'
import { createFile, overwriteFile } from './files.ts'
import type { TokenKey } from './key-facts.ts'

/** In this order. The last one leaves no file. */
const ROTATION_STEPS = [
  'planned',
  'generated',
  'requested',
  'certified',
  'proved',
  'switched',
  'in-force',
] as const
export type RotationStep = (typeof ROTATION_STEPS)[number]

const keySchema = z.object({
  label: z.string(),
  /** Hex. */
  id: z.string(),
  type: z.string(),
  /** Base64; null until the key is there. */
  spki: z.string().nullable(),
})

const rotationSchema = z.object({
  version: z.literal(1),
  step: z.enum(ROTATION_STEPS),
  /** Absolute path of the configuration. */
  config: z.string(),
  /** e.g. `certificates[0]`; where it was when the rotation began. */
  place: z.string(),
  hsms: z.array(z.string()),
  old: z.object({ key: keySchema, uri: z.string(), chain: z.string() }),
  new: z.object({
    key: keySchema,
    uri: z.string(),
    /** Absolute paths. */
    csr: z.string(),
    chain: z.string(),
  }),
  subject: z.array(z.object({ type: z.string(), value: z.string() })),
  names: z.array(z.object({ kind: z.enum(['dns', 'ip', 'uri', 'email']), value: z.string() })),
  overlapMs: z.number(),
  begunAt: z.string(),
  switchedAt: z.string().nullable(),
  /** From then on the old key may be destroyed. */
  retireAfter: z.string().nullable(),
})
export type Rotation = z.infer<typeof rotationSchema>

/**
 * Where the state of a new rotation goes: a name that no other has, as certificates in different folders may be called alike.
 *
 * @param chain of the certificate when the rotation begins. @param folder default: beside the configuration.
 */
export function rotationFile(config: string, chain: string, folder = dirname(config)): string {
  for (let number = 1; ; number++) {
    const name = number === 1 ? basename(chain) : `${basename(chain)}-${number}`
    const file = join(folder, `${basename(config)}.rotation.${name}.json`)
    if (!existsSync(file)) return file
  }
}

/** @returns undefined when there is none. @throws {SealgateError} `ERR_KEYS_ROTATION` when the file holds something else. */
function readRotation(file: string): Rotation | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new SealgateError(
      'ERR_KEYS_FILE',
      `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
  try {
    return rotationSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new SealgateError(
      'ERR_KEYS_ROTATION',
      `${file} is not the state of a rotation, or of another version: move it away to begin anew (its keys stay in the HSM; see sealgate keys list)`,
      { cause },
    )
  }
}

export function writeRotation(file: string, rotation: Rotation): void {
  const text = `${JSON.stringify(rotation, null, 2)}\n`
  if (rotation.step === 'planned') createFile(file, text)
  else overwriteFile(file, text)
}

export function endRotation(file: string): void {
  rmSync(file)
}

/** Rotations of a configuration that are under way, oldest name first. */
export function rotations(
  config: string,
  folder = dirname(config),
): readonly { readonly file: string; readonly rotation: Rotation }[] {
  const prefix = `${basename(config)}.rotation.`
  const names = namesIn(folder).filter((name) => name.startsWith(prefix) && name.endsWith('.json'))
  return names.toSorted().flatMap((name) => {
    const file = join(folder, name)
    const rotation = readRotation(file)
    return rotation === undefined ? [] : [{ file, rotation }]
  })
}

/** @throws {SealgateError} `ERR_KEYS_FILE`. */
function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new SealgateError('ERR_KEYS_FILE', `states of rotations cannot be looked for: ${reason}`, { cause })
  }
}

/** Files of rotations that have made this key or still serve with it. */
export function rotationsThatNeed(
  config: string,
  key: TokenKey,
  folder = dirname(config),
): readonly string[] {
  return rotations(config, folder).flatMap(({ file, rotation }) =>
    [rotation.old.key, rotation.new.key].some(({ label, id }) => label === key.label && id === key.id)
      ? [file]
      : [],
  )
}

/** `hsms` → HsmOptions: the files exist, each token is named once, and no PIN is read here. */

import type { HsmOptions } from '../hsm/options.ts'
import type { Path } from './document.ts'
import { absolutePath, type Context, type Entry } from './entries.ts'
import { findFile } from './files.ts'
import type { HsmEntry } from './schema.ts'

export function resolveHsm(entry: Entry<HsmEntry>, context: Context): HsmOptions | undefined {
  const { path, name, value } = entry
  const module = resolveModule([...path, 'module'], value.module, context)
  const token = resolveToken(path, value, context)
  const pin = resolvePin([...path, 'pin'], value.pin, context)
  const env = resolveEnvironment([...path, 'env'], value.env, context)
  if (token === undefined || pin === undefined) return undefined
  const initialize = resolveInitialize(value.initialize, context)
  const userType = userTypeOf(value.user_type)
  return { name, module, initialize, token, pin, userType, sessions: value.sessions, env }
}

function resolveModule(path: Path, module: string, context: Context): string {
  const file = absolutePath(context, module)
  const found = findFile(file)
  if ('error' in found) {
    const cure = module.includes('/') ? 'install it, or correct the path' : 'write its full path'
    context.report.error(path, `${found.error}: ${cure}`)
  }
  return file
}

/** Modules have a language of their own here, but paths begin the same way in all: after a quote, `=` or `:`. */
function resolveInitialize(initialize: string | undefined, context: Context): string | undefined {
  return initialize?.replace(/(?<=^|['"=:\s])\.\.?\/[^'"\s]*/g, (path) => absolutePath(context, path))
}

function resolveToken(path: Path, entry: HsmEntry, { report }: Context): HsmOptions['token'] | undefined {
  const { token: label, serial, slot } = entry
  const given = Object.entries({ token: label, serial, slot }).flatMap(([key, value]) =>
    value === undefined ? [] : [key],
  )
  if (given.length !== 1) {
    report.error(
      path,
      given.length === 0
        ? 'names no token: give one of token (label), serial and slot'
        : `names the token by ${given.join(' and ')}: give one of them only`,
    )
    return undefined
  }
  if (label !== undefined && Buffer.byteLength(label) > MAX_LABEL_BYTES) {
    report.error(
      [...path, 'token'],
      `is longer than a token label can be: ${MAX_LABEL_BYTES} bytes (PKCS#11, CK_TOKEN_INFO)`,
    )
  }
  if (label !== undefined) return { label }
  if (serial !== undefined) return { serial }
  return slot === undefined ? undefined : { slot }
}

function resolvePin(path: Path, pin: HsmEntry['pin'], context: Context): HsmOptions['pin'] | undefined {
  const { report } = context
  if ((pin.file === undefined) === (pin.env === undefined)) {
    report.error(
      path,
      'must say where the PIN is, once: { file: /run/secrets/hsm.pin } or { env: NAME }',
      'ERR_CONFIG_SECRET',
    )
    return undefined
  }
  if (pin.env !== undefined) {
    if (!context.environment[pin.env]) {
      report.error(
        [...path, 'env'],
        `the environment variable ${pin.env} is not set or empty`,
        'ERR_CONFIG_SECRET',
      )
    }
    report.warn(
      path,
      `the PIN comes from the environment, which the process that faces the network has too; prefer pin: { file: ... }`,
    )
    return { env: pin.env }
  }
  const file = absolutePath(context, pin.file ?? '')
  const found = findFile(file)
  if ('error' in found) {
    report.error([...path, 'file'], found.error, 'ERR_CONFIG_SECRET')
  } else {
    const { stats } = found
    // A pipe or a device has no size to judge by.
    if (stats.isFile() && stats.size === 0)
      report.error([...path, 'file'], `${file} is empty: it must hold the PIN`, 'ERR_CONFIG_SECRET')
    if ((stats.mode & OTHERS_MAY_READ) !== 0) {
      report.warn([...path, 'file'], `every user of this machine may read the PIN: chmod o-rwx ${file}`)
    }
  }
  return { file }
}

function resolveEnvironment(
  path: Path,
  env: HsmEntry['env'],
  context: Context,
): Readonly<Record<string, string>> {
  for (const name of Object.keys(env)) {
    if (SECRET_NAME.test(name)) {
      context.report.warn(
        [...path, name],
        'looks like a secret in a configuration file; give it to the module in a file of its own',
      )
    }
  }
  return Object.fromEntries(
    Object.entries(env).map(([name, value]) => [
      name,
      /^\.\.?\//.test(value) ? absolutePath(context, value) : value,
    ]),
  )
}

function userTypeOf(userType: HsmEntry['user_type']): number {
  return typeof userType === 'number' ? userType : USER_TYPES[userType]
}

/** CK_USER_TYPE (PKCS#11 v3.1, C_Login). */
const USER_TYPES = { so: 0, user: 1 } as const
const MAX_LABEL_BYTES = 32
const OTHERS_MAY_READ = 0o004
const SECRET_NAME = /(?:^|_)(?:PIN|PASSWORD|PASSPHRASE|SECRET)$/i

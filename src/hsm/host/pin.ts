/** Reads the PIN where the configuration says. The front process never does. */

import { readFileSync } from 'node:fs'

import type { HsmOptions } from '../options.ts'
import { Problem } from './problem.ts'

/** @throws {Problem} `ERR_HSM_PIN` when there is none; not final, since no login was tried. */
export function readPin(source: HsmOptions['pin']): string {
  const pin = 'file' in source ? fromFile(source.file) : fromEnvironment(source.env)
  // Invisible in an editor; as a part of the PIN it would cost a try, and a token has few.
  if (pin.startsWith('\uFEFF'))
    throw new Problem(
      'ERR_HSM_PIN',
      `the PIN begins with a byte order mark (${place(source)}): save it without one`,
    )
  if (pin === '') throw new Problem('ERR_HSM_PIN', `the PIN is empty (${place(source)})`)
  return pin
}

function fromFile(path: string): string {
  try {
    // Editors and `echo` end it with a newline, and a secret store may put a comment below.
    return readFileSync(path, 'utf8').split(/\r?\n/, 1)[0] ?? ''
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? ` (${cause.code})` : ''
    throw new Problem('ERR_HSM_PIN', `the PIN file ${path} cannot be read${reason}`, { cause })
  }
}

/** Taken out of the environment as well, so that nothing this process starts inherits it. */
function fromEnvironment(name: string): string {
  const pin = process.env[name] ?? ''
  delete process.env[name]
  return pin
}

function place(source: HsmOptions['pin']): string {
  return 'file' in source ? `file ${source.file}` : `environment variable ${source.env}`
}

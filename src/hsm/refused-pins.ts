/**
 * PINs that a token has refused are not tried again, also not by the host process of a new configuration: a few reloads
 * with the same wrong PIN would lock the token.
 *
 * The front process never reads a PIN. It knows one by where it comes from, and by what the file looks like.
 */

import { statSync } from 'node:fs'
import { HsmError } from '../errors.ts'
import type { HsmOptions } from './options.ts'

export class RefusedPins {
  /** What the source looked like when its PIN was refused, by token and source. */
  readonly #refused = new Map<string, string>()

  refused(hsm: HsmOptions): void {
    this.#refused.set(identityOf(hsm), look(hsm))
  }

  /** It would be the PIN that was refused. */
  has(hsm: HsmOptions): boolean {
    return this.#refused.get(identityOf(hsm)) === look(hsm)
  }

  /** @throws {HsmError} `ERR_HSM_PIN` when it would be the PIN that was refused. */
  check(hsm: HsmOptions): void {
    const error = this.error(hsm)
    if (error !== undefined) throw error
  }

  /** What there is to say when it would be the PIN that was refused. */
  error(hsm: HsmOptions): HsmError | undefined {
    if (!this.has(hsm)) return undefined
    const cure =
      'file' in hsm.pin
        ? `put the right one into ${hsm.pin.file}, then reload`
        : `${hsm.pin.env} cannot change while Sealgate runs: restart it, or name a file`
    return new HsmError(
      'ERR_HSM_PIN',
      `hsm "${hsm.name}": its PIN was refused, and is not tried again as it would lock the token: ${cure}`,
      { hsm: hsm.name },
    )
  }
}

function identityOf({ module, initialize, token, pin, userType }: HsmOptions): string {
  return JSON.stringify([module, initialize, token, pin, userType])
}

function look({ pin }: HsmOptions): string {
  if ('env' in pin) return 'environment'
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(pin.file, { bigint: true })
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch {
    return 'cannot be looked at'
  }
}

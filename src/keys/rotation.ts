/**
 * A new key for a certificate, step by step.
 *
 * Each step is done, recorded in the journal, and written into the state before the next begins; a step that was
 * interrupted finds what it has left and goes on. Steps that need somebody (a CA, a reload, a date) say what they wait
 * for and end the run; the same command again goes on from there.
 *
 *     planned -> generated -> requested -> certified -> proved -> switched -> in-force -> (ended)
 *                                 ^ the certificate                  ^ the reload   ^ the date
 *
 * The switch changes two values of the configuration in one replacement of the file, key and chain together: whoever reads it
 * sees the old pair or the new one. The new chain has a file of its own for that reason, and so the way back is the copy of
 * the configuration. Nothing is sent to the proxy unless a process is named: a pid that was read somewhere may be anybody's.
 */

import { SealgateError } from '../errors.ts'
import { onFirst } from './cluster.ts'
import { destroyKey } from './jobs.ts'
import { keyFields } from './journal.ts'
import { exactName, keyNameText, type TokenKey } from './key-facts.ts'
import { generateNewKey, prove, request, takeCertificate } from './rotation-new-key.ts'
import { retire } from './rotation-retire.ts'
import { endRotation, type Rotation, type RotationStep, writeRotation } from './rotation-state.ts'
import { seeInForce, switchOver } from './rotation-switch.ts'
import { find, membersOf, type RotationWork, type Step } from './rotation-work.ts'
import { usesOf } from './usage.ts'

/** What a run ended with. */
export interface RotationOutcome {
  readonly rotation: Rotation
  /** What has to happen before the command is run again; undefined: the rotation has ended. */
  readonly waitsFor: string | undefined
}

/** Goes as far as it can. @throws {SealgateError | HsmError | ConfigError} the step that failed can be taken again. */
export async function advance(begun: Rotation, work: RotationWork): Promise<RotationOutcome> {
  let rotation = begun
  for (;;) {
    const next = await STEPS[rotation.step](rotation, work)
    if ('waitsFor' in next) return { rotation, waitsFor: next.waitsFor }
    rotation = next.rotation
    if (next.ended === true) {
      endRotation(work.file)
      return { rotation, waitsFor: undefined }
    }
    writeRotation(work.file, rotation)
  }
}

/** Gives up a rotation that has not switched yet: the new key is destroyed. */
export async function abandon(rotation: Rotation, work: RotationWork): Promise<void> {
  if (rotation.switchedAt !== null) {
    throw new SealgateError(
      'ERR_KEYS_ROTATION',
      `the configuration has been switched on ${rotation.switchedAt}: to go back, restore its copy (${rotation.config}.*.bak), reload, and run this again with --keep-old-key; the new key can then be destroyed`,
    )
  }
  const { new: made } = rotation
  const there = await find(
    membersOf(rotation, work.inventory),
    made.key,
    `destroy it with the tool of the HSM if it is there, then remove ${work.file}`,
  )
  if (there !== undefined) {
    refuseNamed(rotation, work, there)
    await work.input.confirm(made.key.label)
    await work.journal.around(
      'rotate-abort',
      {},
      () => onFirst(membersOf(rotation, work.inventory), (hsm) => destroyKey(hsm, exactName(there))),
      keyFields,
    )
    work.say(`the new key ${keyNameText(made.key)} was destroyed`)
  } else
    await work.journal.record('rotate-abort', {
      result: 'ok',
      key: { label: made.key.label, id: made.key.id },
    })
  endRotation(work.file)
}

/** The state may be older than the configuration: somebody has made the printed change, or a run was ended right after the switch. */
function refuseNamed(rotation: Rotation, { inventory }: RotationWork, key: TokenKey): void {
  const [use] = usesOf(inventory, key, new Set(inventory.hsms.map(({ name }) => name)))
  if (use === undefined) return
  throw new SealgateError(
    'ERR_KEYS_IN_USE',
    `${inventory.file} uses the new key ${keyNameText(key)} in ${use.place}: run this without --abort to go on, or write chain ${rotation.old.chain} and uri ${rotation.old.uri} there again`,
  )
}

const STEPS: Readonly<Record<RotationStep, Step>> = {
  planned: generateNewKey,
  generated: request,
  requested: takeCertificate,
  certified: prove,
  proved: switchOver,
  switched: seeInForce,
  'in-force': retire,
}

/** `sealgate keys rotate`: the same command again and again, until the old key is gone. */

import { resolve } from 'node:path'
import type { KeyInventory } from '../config/key-inventory.ts'
import { suggestion } from '../config/nearest.ts'
import { parseDuration } from '../config/units.ts'
import { refuseUnwritable } from '../keys/files.ts'
import { type Journal, withJournal } from '../keys/journal.ts'
import { KEY_TYPE_NAMES } from '../keys/key-types.ts'
import { abandon, advance, type RotationOutcome } from '../keys/rotation.ts'
import { planRotation } from '../keys/rotation-plan.ts'
import { type Rotation, rotationFile, rotations, writeRotation } from '../keys/rotation-state.ts'
import type { RotationInput } from '../keys/rotation-work.ts'
import { ask } from './ask.ts'
import { certificateUse, type Target } from './key-target.ts'
import { tellUnsigned } from './keys-journal.ts'
import { usage } from './module-options.ts'
import type { Terminal } from './program.ts'

export interface RotateOptions {
  readonly certificate?: string
  readonly type?: string
  readonly label?: string
  readonly out?: string
  readonly overlap?: string
  readonly chain?: string
  readonly fewerNames?: true
  readonly print?: true
  readonly pid?: string
  readonly inForce?: true
  readonly retire?: true
  readonly keepOldKey?: true
  readonly early?: true
  readonly abort?: true
  readonly status?: true
  readonly confirm?: string
  readonly state?: string
  readonly json?: true
}

interface Found {
  readonly file: string
  /** undefined: none is under way. */
  readonly rotation: Rotation | undefined
}

export async function rotate(target: Target, options: RotateOptions, terminal: Terminal): Promise<void> {
  const { inventory } = target
  if (inventory === undefined) throw usage('a rotation changes a configuration: give --config FILE')
  if (options.status === true) return tellAll(inventory, options, terminal)
  const input = inputOf(options)
  const found = findRotation(inventory, options)
  if (options.abort === true && found.rotation === undefined) throw usage('no rotation is under way')
  const command = { name: 'keys rotate', state: found.file, ...(options.abort === true && { abort: true }) }
  const { value: outcome, unsigned } = await withJournal(
    { audit: inventory.audit, hsms: inventory.hsms, config: inventory, command },
    (journal) => run(inventory, { found, options, input, journal }, terminal),
  )
  tellUnsigned(unsigned, terminal)
  if (outcome === undefined) terminal.out('The rotation was given up; the configuration is as it was.\n')
  else tell(found.file, outcome, options, terminal)
}

async function run(
  inventory: KeyInventory,
  {
    found,
    options,
    input,
    journal,
  }: { found: Found; options: RotateOptions; input: RotationInput; journal: Journal },
  terminal: Terminal,
): Promise<RotationOutcome | undefined> {
  const say = (text: string): void => {
    if (options.json !== true) terminal.out(`${text}\n`)
  }
  const work = { inventory, journal, file: found.file, input, say }
  if (found.rotation !== undefined) refuseOther(found.rotation, options)
  const rotation = found.rotation ?? (await begin(inventory, found.file, options))
  if (options.abort !== true) return advance(rotation, work)
  await abandon(rotation, work)
  return undefined
}

async function begin(inventory: KeyInventory, file: string, options: RotateOptions): Promise<Rotation> {
  const { type, label, overlap = DEFAULT_OVERLAP } = options
  const overlapMs = parseDuration(overlap)
  if (overlapMs === undefined)
    throw usage(`--overlap ${overlap}: give a duration with its unit, e.g. 7d or 12h`)
  const types = KEY_TYPE_NAMES.filter((name) => name !== 'aes-256')
  if (type !== undefined && !types.some((name) => name === type)) {
    throw usage(
      `--type ${type}: no such type for a certificate${suggestion(type, types)}; there are: ${types.join(', ')}`,
    )
  }
  if (options.chain !== undefined)
    throw usage('no rotation is under way that waits for a certificate: begin without --chain')
  const csr = options.out && resolve(options.out)
  const rotation = await planRotation(inventory, certificateUse(inventory, options.certificate), {
    type,
    label,
    csr,
    overlapMs,
  })
  refuseUnwritable(rotation.new.csr)
  writeRotation(file, rotation)
  return rotation
}

/** What was decided at the beginning holds: the key may be there already, and its request at a CA. */
function refuseOther({ new: made, overlapMs, old }: Rotation, options: RotateOptions): void {
  const { type, label, out, overlap } = options
  const begunWith =
    type !== undefined && type !== made.key.type
      ? `--type ${made.key.type}`
      : label !== undefined && label !== made.key.label
        ? `--label ${made.key.label}`
        : out !== undefined && resolve(out) !== made.csr
          ? `--out ${made.csr}`
          : overlap !== undefined && parseDuration(overlap) !== overlapMs
            ? `--overlap ${overlapMs / 1000}s`
            : undefined
  if (begunWith === undefined) return
  throw usage(
    `the rotation of ${old.chain} was begun with ${begunWith}: leave that option out to go on, or give it up first (--abort)`,
  )
}

function inputOf(options: RotateOptions): RotationInput {
  const pid = options.pid === undefined ? undefined : Number(options.pid)
  if (pid !== undefined && (!Number.isSafeInteger(pid) || pid < 2))
    throw usage(`--pid ${options.pid}: give the number of a process`)
  if (options.retire === true && options.keepOldKey === true)
    throw usage('give either --retire or --keep-old-key')
  return {
    chain: options.chain,
    fewerNames: options.fewerNames === true,
    print: options.print === true,
    pid,
    inForce: options.inForce === true,
    retire: options.retire === true ? 'destroy' : options.keepOldKey === true ? 'keep' : undefined,
    early: options.early === true,
    confirm: (label) => confirm(label, options.confirm),
  }
}

async function confirm(label: string, given: string | undefined): Promise<void> {
  const typed = given ?? (await ask(`This destroys the key "${label}" for ever. Its label once more: `))
  if (typed === undefined)
    throw usage(`nobody is there to be asked: confirm with --confirm ${JSON.stringify(label)}`)
  if (typed !== label) throw usage(`"${typed}" is not "${label}": nothing was destroyed`)
}

/** The one that is under way for this certificate; after the switch that is known by its new file. */
function findRotation(inventory: KeyInventory, { certificate, state }: RotateOptions): Found {
  const all = rotations(inventory.file, state)
  const [only, ...more] = all
  if (certificate === undefined && only !== undefined && more.length === 0) return only
  const { chain } = certificateUse(inventory, certificate)
  const found = all.find(({ rotation }) => [rotation.old.chain, rotation.new.chain].includes(chain))
  return found ?? { file: rotationFile(inventory.file, chain, state), rotation: undefined }
}

function tell(
  file: string,
  { rotation, waitsFor }: RotationOutcome,
  { json }: RotateOptions,
  terminal: Terminal,
): void {
  if (json === true) {
    terminal.out(
      `${JSON.stringify({ file, ended: waitsFor === undefined, waitsFor: waitsFor ?? null, rotation }, null, 2)}\n`,
    )
    return
  }
  terminal.out(waitsFor === undefined ? 'The rotation has ended.\n' : `Waits for ${waitsFor}.\n`)
}

function tellAll(inventory: KeyInventory, { state, json }: RotateOptions, terminal: Terminal): void {
  const all = rotations(inventory.file, state)
  if (json === true) terminal.out(`${JSON.stringify({ rotations: all }, null, 2)}\n`)
  else if (all.length === 0) terminal.out('No rotation is under way.\n')
  else {
    for (const { file, rotation } of all) {
      const { old, new: made, step, retireAfter, begunAt } = rotation
      terminal.out(
        `${old.chain}: ${step}, begun ${begunAt}\n  old key ${old.uri}\n  new key ${made.uri}, request ${made.csr}, chain ${made.chain}\n  ${retireAfter === null ? '' : `the old key may go after ${retireAfter}; `}state in ${file}\n`,
      )
    }
  }
}

const DEFAULT_OVERLAP = '7d'

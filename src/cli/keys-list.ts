/** `sealgate keys list` */

import { exitStatus, HsmError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { readToken, type TokenContent } from '../keys/jobs.ts'
import type { TokenKey } from '../keys/key-facts.ts'
import { keyUri } from '../keys/key-facts.ts'
import { membersInSameWords, usesOf } from '../keys/usage.ts'
import type { Target } from './key-target.ts'
import type { Terminal } from './program.ts'
import { table } from './table.ts'

/** @returns 0, or the exit status of an HSM that could not be read; the others are shown all the same. */
export async function listKeys(
  target: Target,
  { json }: { readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  const shown: Shown[] = []
  for (const hsm of target.hsms) shown.push(refusedBefore(shown, hsm) ?? (await read(hsm)))
  if (json) terminal.out(`${JSON.stringify({ hsms: shown.map((each) => jsonOf(target, each)) }, null, 2)}\n`)
  else {
    for (const [index, each] of shown.entries()) {
      if (index > 0) terminal.out('\n')
      if ('error' in each)
        terminal.err(`${each.error instanceof Error ? each.error.message : String(each.error)}\n`)
      else terminal.out(text(target, each))
    }
  }
  return Math.max(...shown.map((each) => ('error' in each ? exitStatus(each.error) : 0)))
}

type Shown = { readonly hsm: HsmOptions } & ({ readonly content: TokenContent } | { readonly error: unknown })

/** A PIN that a token has refused is not tried once more because two members lead there. */
function refusedBefore(shown: readonly Shown[], hsm: HsmOptions): Shown | undefined {
  const refused = shown.find(
    (each) =>
      'error' in each &&
      each.error instanceof HsmError &&
      each.error.code === 'ERR_HSM_PIN' &&
      JSON.stringify([each.hsm.module, each.hsm.pin]) === JSON.stringify([hsm.module, hsm.pin]),
  )
  return refused && { ...refused, hsm }
}

async function read(hsm: HsmOptions): Promise<Shown> {
  try {
    return { hsm, content: await readToken(hsm) }
  } catch (error) {
    // One that is a bug ends the command; an HSM that is away does not hide the others.
    if (exitStatus(error) === BUG) throw error
    return { hsm, error }
  }
}

function jsonOf(target: Target, shown: Shown): object {
  const name = shown.hsm.name
  if ('error' in shown)
    return { name, error: shown.error instanceof Error ? shown.error.message : String(shown.error) }
  const { token, keys, more } = shown.content
  return {
    name,
    token,
    keys: keys.map((key) => ({ ...key, uri: keyUri(key), usedBy: users(target, shown.hsm, key) })),
    more,
  }
}

function text(target: Target, { hsm, content }: Extract<Shown, { content: TokenContent }>): string {
  const { token, keys, more } = content
  const count = `${keys.length}${more ? ' (and more)' : ''} key${keys.length === 1 && !more ? '' : 's'}`
  const heading = `${hsm.name}: token "${token.label}", serial ${token.serial}, ${token.manufacturer} ${token.model}: ${count}\n`
  if (keys.length === 0) return heading
  const rows = keys
    .toSorted((a, b) => a.label.localeCompare(b.label) || a.id.localeCompare(b.id))
    .map((key) => [
      key.label || '-',
      key.id || '-',
      key.type,
      protection(key),
      abilities(key),
      users(target, hsm, key).join(', ') || '-',
    ])
  return heading + table([HEADING, ...rows], '  ')
}

function users({ inventory }: Target, hsm: HsmOptions, key: TokenKey): readonly string[] {
  if (inventory === undefined) return []
  return usesOf(inventory, key, membersInSameWords(inventory.hsms, hsm)).map(({ place, chain }) =>
    chain === undefined ? place : `${place} ${chain}`,
  )
}

/** What is as it should be in small letters, what is not in capitals. */
function protection({ attributes }: TokenKey): string {
  const { sensitive, extractable, alwaysSensitive, neverExtractable, local } = attributes
  return [
    sensitive === false ? 'READABLE' : sensitive === null ? 'sensitive?' : 'sensitive',
    extractable === true ? 'EXTRACTABLE' : extractable === null ? 'extractable?' : 'not extractable',
    ...(sensitive !== false && alwaysSensitive === false ? ['not always sensitive'] : []),
    ...(extractable !== true && neverExtractable === false ? ['was extractable'] : []),
    local === false ? 'imported' : local === null ? 'origin?' : 'born here',
  ].join(', ')
}

function abilities({ attributes }: TokenKey): string {
  const { sign, decrypt, unwrap, derive, alwaysAuthenticate } = attributes
  const may = Object.entries({ sign, decrypt, unwrap, derive }).flatMap(([name, able]) =>
    able === true ? [name] : [],
  )
  return [may.join(', ') || '-', ...(alwaysAuthenticate === true ? ['PIN each time'] : [])].join('; ')
}

const HEADING = ['LABEL', 'ID', 'TYPE', 'PROTECTION', 'MAY', 'USED BY']
const BUG = 70

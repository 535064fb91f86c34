/** The switch: the configuration names the new key and its chain, and the proxy serves with them. */

import { dirname, relative } from 'node:path'

import type { KeyInventory } from '../config/key-inventory.ts'
import { SealgateError } from '../errors.ts'
import { type EditedConfig, edited, putInPlace } from './config-edit.ts'
import { untilInForce } from './in-force.ts'
import type { Rotation } from './rotation-state.ts'
import type { Next, RotationWork } from './rotation-work.ts'

/** Changes the configuration, or takes note that somebody has. */
export async function switchOver(
  rotation: Rotation,
  { inventory, journal, input, say }: RotationWork,
): Promise<Next> {
  const isSwitched = inventory.uses.some(
    ({ key, chain }) => key.uri === rotation.new.uri && chain === rotation.new.chain,
  )
  if (!isSwitched) {
    const change = changeOf(rotation, inventory)
    if (input.print) return { waitsFor: printed(rotation, change) }
    const facts = { config: rotation.config, from: rotation.old.uri, to: rotation.new.uri }
    const backup = await journal.around('rotate-switch', facts, () => putInPlace(rotation.config, change))
    say(
      `switched: ${rotation.config}, line ${change.changes.map(({ line }) => line).join(' and ')}; the old one is ${backup}`,
    )
  } else
    await journal.record('rotate-switch', {
      config: rotation.config,
      from: rotation.old.uri,
      to: rotation.new.uri,
      by: 'hand',
      result: 'ok',
    })
  return { rotation: { ...rotation, step: 'switched', switchedAt: new Date().toISOString() } }
}

function changeOf(rotation: Rotation, inventory: KeyInventory): EditedConfig {
  const use = inventory.uses.find(
    ({ key, chain }) => key.uri === rotation.old.uri && chain === rotation.old.chain,
  )
  if (use === undefined) {
    throw new SealgateError(
      'ERR_KEYS_ROTATION',
      `${rotation.config} has neither the old certificate (${rotation.old.chain} with ${rotation.old.uri}) nor the new one: somebody has changed it; write chain ${rotation.new.chain} and uri ${rotation.new.uri} where they belong, then run this again`,
    )
  }
  const { key, path } = use
  const chainEdit = { path: [...path.slice(0, -1), 'chain'], value: asWritten(rotation) }
  const uris = [...(key.byHsm?.keys() ?? [])].map((name) => ({
    path: [...path, 'uris', name],
    value: rotation.new.uri,
  }))
  return edited(rotation.config, inventory.text, [
    chainEdit,
    { path: [...path, 'uri'], value: rotation.new.uri },
    ...uris,
  ])
}

/** Beside the old chain, so relative to the configuration as that could have been; absolute where it lies elsewhere. */
function asWritten({ config, new: { chain } }: Rotation): string {
  const fromConfig = relative(dirname(config), chain)
  return fromConfig.startsWith('..') ? chain : fromConfig
}

function printed({ config }: Rotation, { changes }: EditedConfig): string {
  const lines = changes.map(
    ({ line, before, after }) => `  line ${line}:\n  - ${before.trim()}\n  + ${after.trim()}`,
  )
  return `this change of ${config}, and a reload:\n${lines.join('\n')}\nThen run this again`
}

function hangUp(pid: number, say: (text: string) => void): void {
  try {
    process.kill(pid, 'SIGHUP')
    say(`told process ${pid} to reload (HUP)`)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    throw new SealgateError(
      'ERR_KEYS_ROTATION',
      `process ${pid} was not told to reload: ${code === 'ESRCH' ? 'there is none' : 'this user may not'}; reload the proxy, then run this again`,
    )
  }
}

/** Believes the proxy's own word, or that of whoever says --in-force. */
export async function seeInForce(
  rotation: Rotation,
  { inventory, journal, input, say }: RotationWork,
): Promise<Next> {
  const uris = { old: rotation.old.uri, new: rotation.new.uri }
  const { admin } = inventory
  if (input.pid !== undefined) hangUp(input.pid, say)
  const asked =
    admin === undefined || admin.port === 0 ? undefined : await untilInForce(admin, uris, IN_FORCE_LIMIT_MS)
  if (asked !== 'new' && !input.inForce) {
    const waitsFor = {
      none: 'the reload of the proxy: without an admin address nobody can be asked; when you have seen the new certificate, run this again with --in-force',
      nobody: `the proxy: nobody answers on the admin address ${admin?.host}:${admin?.port}; start it, or say --in-force when you have seen the new certificate`,
      old: 'the reload: the proxy still serves with the old key; kill -HUP it (its log says why if it refuses), then run this again',
    }[asked ?? 'none']
    return { waitsFor }
  }
  await journal.record('rotate-in-force', {
    uri: uris.new,
    seen: asked === 'new' ? 'status' : 'by hand',
    result: 'ok',
  })
  const retireAfter = new Date(Date.now() + rotation.overlapMs).toISOString()
  say(`in force: the proxy serves with ${uris.new}`)
  return { rotation: { ...rotation, step: 'in-force', retireAfter } }
}

// A reload tries every HSM anew.
const IN_FORCE_LIMIT_MS = 15_000

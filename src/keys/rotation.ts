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

import { dirname, relative } from 'node:path'

import type { KeyInventory } from '../config/key-inventory.ts'
import { SealgateError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { checkChain } from './check-chain.ts'
import { generateInCluster, onFirst, readStores } from './cluster.ts'
import { type EditedConfig, edited, putInPlace } from './config-edit.ts'
import { overwriteFile, refuseUnwritable, replaceFile } from './files.ts'
import { untilInForce } from './in-force.ts'
import { destroyKey, type KeyOnToken, proveKey, signX509 } from './jobs.ts'
import { type Journal, keyFields } from './journal.ts'
import { exactName, keyNameText, type TokenKey } from './key-facts.ts'
import { KEY_TYPE_NAMES } from './key-types.ts'
import { endRotation, type Rotation, type RotationStep, writeRotation } from './rotation-state.ts'
import { usesOf } from './usage.ts'
import { pem } from './x509/der.ts'
import { isSignedBy } from './x509/signed.ts'

export interface RotationInput {
  /** The certificate, when it has arrived. */
  readonly chain: string | undefined
  readonly fewerNames: boolean
  /** Do not change the configuration: show what to change. */
  readonly print: boolean
  /** A proxy to send HUP to. */
  readonly pid: number | undefined
  /** Somebody has seen that the new certificate is in force, where there is no admin address to ask. */
  readonly inForce: boolean
  /** Destroy the old key, if its time has come; `keep`: end without that. */
  readonly retire: 'destroy' | 'keep' | undefined
  /** Do not wait for the end of the overlap. */
  readonly early: boolean
  /** Asked before a key is destroyed; throws if the answer is no. */
  confirm(label: string): Promise<void>
}

export interface RotationWork {
  readonly inventory: KeyInventory
  readonly journal: Journal
  /** Where the state is. */
  readonly file: string
  readonly input: RotationInput
  /** Tells what was done. */
  say(text: string): void
}

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
  const there = await find(membersOf(rotation, work.inventory), made.key)
  if (there !== undefined) {
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

type Next = { readonly waitsFor: string } | { readonly rotation: Rotation; readonly ended?: true }
type Step = (rotation: Rotation, work: RotationWork) => Promise<Next>

const STEPS: Readonly<Record<RotationStep, Step>> = {
  planned: generateNewKey,
  generated: request,
  requested: takeCertificate,
  certified: prove,
  proved: switchOver,
  switched: seeInForce,
  'in-force': retire,
}

async function generateNewKey(rotation: Rotation, { inventory, journal, say }: RotationWork): Promise<Next> {
  const { label, id, type } = rotation.new.key
  const members = membersOf(rotation, inventory)
  // Of a run that was interrupted: nobody else has this id.
  const there = await find(members, { label, id })
  const typeName = KEY_TYPE_NAMES.find((name) => name === type) ?? 'p-256'
  const key =
    there ??
    (
      await journal.around(
        'rotate-generate',
        { hsms: rotation.hsms },
        () => generateInCluster(members, { type: typeName, label, id }),
        keyFields,
      )
    ).key
  say(`generated: ${key.type} key ${keyNameText(key)} in ${rotation.hsms.join(' and ')}`)
  return {
    rotation: {
      ...rotation,
      step: 'generated',
      new: { ...rotation.new, key: { ...rotation.new.key, spki: key.spki } },
    },
  }
}

async function request(rotation: Rotation, { inventory, journal, say }: RotationWork): Promise<Next> {
  const { csr } = rotation.new
  refuseUnwritable(csr, { mayExist: true })
  const { subject, names } = rotation
  const args = { key: exactName(rotation.new.key), subject, names, validity: null }
  const signed = await journal.around(
    'rotate-csr',
    { file: csr },
    () => onFirst(membersOf(rotation, inventory), (hsm) => signX509(hsm, args)),
    keyFields,
  )
  if (!isSignedBy(Buffer.from(signed.key.spki ?? '', 'base64'), signed.der)) {
    throw new SealgateError(
      'ERR_HSM_BAD_SIGNATURE',
      `the request of ${keyNameText(signed.key)} does not verify`,
    )
  }
  overwriteFile(csr, pem('CERTIFICATE REQUEST', signed.der))
  say(`requested: ${csr}, for ${names.map(({ value }) => value).join(', ')}`)
  return { rotation: { ...rotation, step: 'requested' } }
}

async function takeCertificate(
  rotation: Rotation,
  { inventory, journal, input, say }: RotationWork,
): Promise<Next> {
  const { csr, chain, key } = rotation.new
  if (input.chain === undefined) {
    return {
      waitsFor: `the certificate: have ${csr} signed by your CA, then run this again with --chain CERTIFICATE.pem`,
    }
  }
  const inUse = inventory.uses.find((use) => use.chain === rotation.old.chain)?.certificate?.names ?? []
  const expected = { spki: key.spki ?? '', keyName: keyNameText(key), names: input.fewerNames ? [] : inUse }
  const checked = checkChain(input.chain, expected)
  const facts = { file: chain, names: checked.certificate.names, key: { label: key.label, id: key.id } }
  await journal.around('rotate-certificate', facts, async () => replaceFile(chain, checked.pem))
  for (const warning of checked.warnings) say(`warning: ${warning}`)
  say(
    `certified: ${chain}, for ${checked.certificate.names.join(', ')}, until ${new Date(checked.certificate.notAfterMs).toISOString().slice(0, 10)}`,
  )
  return { rotation: { ...rotation, step: 'certified' } }
}

/** In every member: one that has not the key would fail a part of the handshakes. */
async function prove(rotation: Rotation, { inventory, journal, say }: RotationWork): Promise<Next> {
  for (const hsm of membersOf(rotation, inventory)) {
    const proved = await journal.around(
      'rotate-test',
      { hsm: hsm.name },
      () => proveKey(hsm, exactName(rotation.new.key)),
      keyFields,
    )
    say(`proved: hsm "${hsm.name}" signs with it (${proved.schemes.join(', ')})`)
  }
  return { rotation: { ...rotation, step: 'proved' } }
}

async function switchOver(
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

async function seeInForce(
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

async function retire(rotation: Rotation, work: RotationWork): Promise<Next> {
  const { input, journal, inventory, say } = work
  const { key } = rotation.old
  const until = rotation.retireAfter ?? rotation.begunAt
  if (input.retire === 'keep') {
    await journal.record('rotate-end', { result: 'ok', kept: { label: key.label, id: key.id } })
    say(`ended: the old key ${keyNameText(key)} stays in the HSM`)
    return { rotation, ended: true }
  }
  if (Date.parse(until) > Date.now() && !input.early) {
    return {
      waitsFor: `the end of the overlap, ${until}: until then the old key ${keyNameText(key)} stays, for proxies that have not reloaded and for the way back; then run this again with --retire`,
    }
  }
  if (input.retire === undefined) {
    return {
      waitsFor: `your word: run this again with --retire to destroy the old key ${keyNameText(key)}, or with --keep-old-key`,
    }
  }
  const members = membersOf(rotation, inventory)
  const there = await find(members, key)
  if (there !== undefined) {
    await refuseStillUsed(rotation, work, there)
    await input.confirm(there.label === '' ? there.id : there.label)
    await journal.around(
      'rotate-retire',
      {},
      () => onFirst(members, (hsm): Promise<KeyOnToken> => destroyKey(hsm, exactName(there))),
      keyFields,
    )
  }
  say(`retired: the old key ${keyNameText(key)} was destroyed`)
  return { rotation, ended: true }
}

async function refuseStillUsed(
  rotation: Rotation,
  { inventory, input }: RotationWork,
  key: TokenKey,
): Promise<void> {
  const [use] = usesOf(inventory, key, new Set(inventory.hsms.map(({ name }) => name)))
  if (use !== undefined) {
    throw new SealgateError(
      'ERR_KEYS_IN_USE',
      `${inventory.file} uses the old key ${keyNameText(key)} in ${use.place}: give that one a new key first`,
    )
  }
  const { admin } = inventory
  if (admin === undefined || admin.port === 0 || input.inForce) return
  if ((await untilInForce(admin, { old: rotation.old.uri, new: rotation.new.uri }, 0)) === 'old') {
    throw new SealgateError(
      'ERR_KEYS_IN_USE',
      `the proxy on ${admin.host}:${admin.port} still serves with the old key ${keyNameText(key)}: reload it first`,
    )
  }
}

function membersOf({ hsms }: Rotation, inventory: KeyInventory): readonly HsmOptions[] {
  const members = inventory.hsms.filter(({ name }) => hsms.includes(name))
  if (members.length === hsms.length) return members
  throw new SealgateError(
    'ERR_KEYS_ROTATION',
    `the rotation is for ${hsms.join(', ')}, and ${inventory.file} no longer has all of them`,
  )
}

/** In the first store that shows it. */
async function find(
  members: readonly HsmOptions[],
  { label, id }: { readonly label: string; readonly id: string },
): Promise<TokenKey | undefined> {
  const stores = await readStores(members)
  return stores
    .flatMap(({ members }) => members.flatMap(({ content }) => content.keys))
    .find((key) => key.kind === 'private' && key.label === label && key.id === id)
}

// A reload tries every HSM anew.
const IN_FORCE_LIMIT_MS = 15_000

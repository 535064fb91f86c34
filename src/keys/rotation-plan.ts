/** The beginning of a rotation: what the new key will be called, and where its files will be. */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'

import type { KeyInventory, KeyUse } from '../config/key-inventory.ts'
import { SealgateError } from '../errors.ts'
import { readStores } from './cluster.ts'
import { keyUri, type TokenKey } from './key-facts.ts'
import { KEY_TYPE_NAMES } from './key-types.ts'
import type { Rotation } from './rotation-state.ts'
import { selects } from './usage.ts'
import { type AlternativeName, parseAlternativeName } from './x509/alternative-names.ts'
import { subjectOf } from './x509/subject-of.ts'

export interface PlanOptions {
  /** undefined: as the old one. */
  readonly type: string | undefined
  readonly label: string | undefined
  readonly csr: string | undefined
  readonly overlapMs: number
}

/** Reads the HSMs, changes nothing. @throws {SealgateError | HsmError} */
export async function planRotation(
  inventory: KeyInventory,
  use: KeyUse & { readonly chain: string },
  options: PlanOptions,
): Promise<Rotation> {
  const { certificate, chain } = use
  if (certificate === undefined) {
    throw new SealgateError(
      'ERR_KEYS_ROTATION',
      `${chain} cannot be read: a rotation begins with a certificate that is in use`,
    )
  }
  const members = inventory.hsms.filter(({ name }) => use.key.hsms.includes(name))
  const keys = (await readStores(members)).flatMap(({ members }) =>
    members.flatMap(({ hsm, content }) =>
      content.keys.map((key) => ({ key, isIt: isKeyOf(use, certificate.spki, key, hsm.name) })),
    ),
  )
  const old = keys.find(({ isIt }) => isIt)?.key
  if (old === undefined) {
    throw new SealgateError(
      'ERR_KEYS_ROTATION',
      `no HSM shows the key ${use.key.uri} of ${chain}: sealgate doctor says why`,
    )
  }
  const today = new Date().toISOString().slice(0, 10).replaceAll('-', '')
  const taken = new Set(keys.map(({ key }) => key.label))
  const label = options.label ?? freeName(undated(old.label || 'key'), today, (name) => taken.has(name))
  const id = randomBytes(8).toString('hex')
  const newChain = freeFile(chain, today)
  const { subject, names } = subjectOf(certificate.chain[0] ?? new Uint8Array())
  return {
    version: 1,
    step: 'planned',
    config: inventory.file,
    place: use.place,
    hsms: [...use.key.hsms],
    old: { key: { ...nameOf(old), spki: old.spki }, uri: use.key.uri, chain },
    new: {
      key: { label, id, type: options.type ?? sameType(old), spki: null },
      uri: keyUri({ label, id }),
      csr: options.csr ?? requestBeside(newChain),
      chain: newChain,
    },
    subject: [...(subject ?? [])],
    names: [...(names ?? certificate.names.map(dnsName))],
    overlapMs: options.overlapMs,
    begunAt: new Date().toISOString(),
    switchedAt: null,
    retireAfter: null,
  }
}

function isKeyOf({ key: options }: KeyUse, spki: Uint8Array, key: TokenKey, hsm: string): boolean {
  if (key.kind !== 'private' || !selects(options.byHsm?.get(hsm) ?? options, key)) return false
  return key.spki === null || Buffer.from(key.spki, 'base64').equals(spki)
}

function sameType({ type }: TokenKey): string {
  return KEY_TYPE_NAMES.find((name) => name === type) ?? 'p-256'
}

function nameOf({ label, id, type }: TokenKey): { label: string; id: string; type: string } {
  return { label, id, type }
}

function dnsName(name: string): AlternativeName {
  return parseAlternativeName(`dns:${name}`)
}

/** `www-20250131` → `www`. */
function undated(label: string): string {
  return label.replace(/-\d{8}(?:-\d+)?$/, '') || label
}

/** `certs/www.pem` → `certs/www.20260131.pem`, whatever date was in it; nor is there the request of a rotation that was given up. */
function freeFile(chain: string, today: string): string {
  const extension = extname(chain)
  const stem = basename(chain, extension).replace(/\.\d{8}(?:-\d+)?$/, '')
  const fileOf = (name: string): string => join(dirname(chain), `${stem}.${name}${extension || '.pem'}`)
  return fileOf(
    freeName('', today, (name) =>
      [fileOf(name), requestBeside(fileOf(name))].some((file) => existsSync(file)),
    ),
  )
}

function requestBeside(chain: string): string {
  return chain.replace(/\.[^.]*$/, '.csr')
}

function freeName(stem: string, today: string, isTaken: (name: string) => boolean): string {
  const name = stem === '' ? today : `${stem}-${today}`
  for (let number = 1; ; number++) {
    const candidate = number === 1 ? name : `${name}-${number}`
    if (!isTaken(candidate)) return candidate
  }
}

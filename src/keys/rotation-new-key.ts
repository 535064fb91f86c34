/** The first half of a rotation: a new key, its request, its certificate, its first signature. */

import { SealgateError } from '../errors.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { checkChain } from './check-chain.ts'
import { generateInCluster, onFirst } from './cluster.ts'
import { overwriteFile, refuseUnwritable, replaceFile } from './files.ts'
import { proveKey, signX509 } from './jobs.ts'
import { keyFields } from './journal.ts'
import { exactName, keyNameText, type TokenKey } from './key-facts.ts'
import { KEY_TYPE_NAMES } from './key-types.ts'
import type { Rotation } from './rotation-state.ts'
import { find, membersOf, type Next, type RotationWork } from './rotation-work.ts'
import { pem } from './x509/der.ts'
import { isSignedBy } from './x509/signed.ts'

/** Once, also when the run that did it did not live to write it down. */
export async function generateNewKey(
  rotation: Rotation,
  { inventory, journal, say }: RotationWork,
): Promise<Next> {
  const { label, id, type } = rotation.new.key
  const members = membersOf(rotation, inventory)
  const typeName = KEY_TYPE_NAMES.find((name) => name === type) ?? 'p-256'
  const generated = journal.around(
    'rotate-generate',
    { hsms: rotation.hsms },
    () => generateInCluster(members, { type: typeName, label, id }),
    keyFields,
  )
  const key = await generated.then(
    (made) => made.key,
    (error) => madeBefore(error, members, { label, id }),
  )
  say(`generated: ${key.type} key ${keyNameText(key)} in ${rotation.hsms.join(' and ')}`)
  return {
    rotation: {
      ...rotation,
      step: 'generated',
      new: { ...rotation.new, key: { ...rotation.new.key, spki: key.spki } },
    },
  }
}

/** Of a run that was interrupted: nobody else has this id. @throws what the generation failed with, if it is not that. */
async function madeBefore(
  error: unknown,
  members: readonly HsmOptions[],
  name: { readonly label: string; readonly id: string },
): Promise<TokenKey> {
  const exists = error instanceof SealgateError && error.code === 'ERR_KEYS_EXISTS'
  const there = exists
    ? await find(
        members,
        { ...name, spki: null },
        'give this up (--abort) and begin again with another --label',
      )
    : undefined
  if (there === undefined) throw error
  return there
}

/** With the subject and names of the certificate in use. */
export async function request(rotation: Rotation, { inventory, journal, say }: RotationWork): Promise<Next> {
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

/** Waits for it; then compares it with the key, and puts it beside the old one. */
export async function takeCertificate(
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
  await journal.around('rotate-certificate', facts, async () =>
    replaceFile(chain, checked.pem, rotation.old.chain),
  )
  for (const warning of checked.warnings) say(`warning: ${warning}`)
  say(
    `certified: ${chain}, for ${checked.certificate.names.join(', ')}, until ${new Date(checked.certificate.notAfterMs).toISOString().slice(0, 10)}`,
  )
  return { rotation: { ...rotation, step: 'certified' } }
}

/** In every member: one that has not the key would fail a part of the handshakes. */
export async function prove(rotation: Rotation, { inventory, journal, say }: RotationWork): Promise<Next> {
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

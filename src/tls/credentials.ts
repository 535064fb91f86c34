/** From certificates and keys to what each server name is served with. */

import type { NativeCredentials } from '../native/addon.ts'
import { type SigningKey, schemes } from '../signing.ts'
import type { CertificateOptions } from './options.ts'

/** A certificate chain and the key that signs for it. */
export interface Credentials {
  readonly certificate: CertificateOptions
  readonly key: SigningKey
}

/**
 * Groups certificates by the names they serve: RSA and ECDSA for the same name stand side by side, and the client's
 * signature algorithms choose. For one name and key type the first certificate wins.
 *
 * @param credentials in the order of the configuration: the names of the first are served to clients without a
 *   server name or with an unknown one. The index of a credential is its key id.
 */
export function nativeCredentials(credentials: readonly Credentials[]): NativeCredentials[] {
  const groups = new Map<string, { names: string[]; members: readonly number[] }>()
  for (const name of new Set(credentials.flatMap(({ certificate }) => namesOf(certificate)))) {
    const members = membersFor(name, credentials)
    const group = groups.get(members.join())
    if (group === undefined) groups.set(members.join(), { names: [name], members })
    else group.names.push(name)
  }
  return [...groups.values()].map(({ names, members }) => {
    const chosen = members.flatMap((index) => ({ index, ...at(credentials, index) }))
    return {
      names: names.filter((name) => name !== NO_NAME),
      certificates: chosen.map(({ index, certificate }) => ({ chain: certificate.chain, keyId: index })),
      signatureSchemes: schemeList(chosen.map(({ key }) => key)),
    }
  })
}

/** Stands for the names of a certificate that has none: it serves as default only. */
const NO_NAME = ''

function namesOf(certificate: CertificateOptions): readonly string[] {
  return certificate.names.length === 0 ? [NO_NAME] : certificate.names
}

function membersFor(name: string, credentials: readonly Credentials[]): number[] {
  const byKeyType = new Map<string, number>()
  for (const [index, { certificate }] of credentials.entries()) {
    if (!namesOf(certificate).includes(name) || byKeyType.has(certificate.keyType)) continue
    byKeyType.set(certificate.keyType, index)
  }
  return [...byKeyType.values()]
}

/** What any of the keys can do, in the order of the table; OpenSSL's names are IANA's. */
function schemeList(keys: readonly SigningKey[]): string {
  const able = new Set(keys.flatMap((key) => key.schemes.map(({ name }) => name)))
  return schemes
    .filter(({ name }) => able.has(name))
    .map(({ name }) => name)
    .join(':')
}

function at(credentials: readonly Credentials[], index: number): Credentials {
  const found = credentials[index]
  if (found === undefined) throw new RangeError(`no credentials at ${index}`)
  return found
}

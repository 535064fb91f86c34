/** From certificates to what each server name is served with. */

import type { NativeCredentials } from '../native/addon.ts'
import { schemes } from '../signing.ts'
import type { Offer } from './offers.ts'
import type { CertificateOptions } from './options.ts'

/**
 * Groups certificates by the names they serve: RSA and ECDSA for the same name stand side by side, and the client's
 * signature algorithms choose. For one name and key type the first certificate wins.
 *
 * What nobody can sign for steps back behind what is signable and matches the same name: the other key type, a later
 * certificate, a wildcard. Where nothing else matches it stays: its handshakes fail with an alert, which a client
 * understands better than a certificate for another name.
 *
 * @param offers in the order of the configuration: the names of the first are served to clients without a
 *   server name or with an unknown one. The index of an offer is its key id.
 */
export function nativeCredentials(offers: readonly Offer[]): NativeCredentials[] {
  const groups = new Map<string, { names: string[]; members: readonly number[] }>()
  for (const name of new Set(offers.flatMap(({ certificate }) => namesOf(certificate)))) {
    const members = membersFor(name, offers)
    const group = groups.get(members.join())
    if (group === undefined) groups.set(members.join(), { names: [name], members })
    else group.names.push(name)
  }
  return [...groups.values()].map(({ names, members }) => {
    const chosen = members.flatMap((index) => ({ index, ...at(offers, index) }))
    return {
      names: names.filter((name) => name !== NO_NAME),
      certificates: chosen.map(({ index, certificate }) => ({ chain: certificate.chain, keyId: index })),
      signatureSchemes: schemeList(chosen),
    }
  })
}

/** Stands for the names of a certificate that has none: it serves as default only. */
const NO_NAME = ''

function namesOf(certificate: CertificateOptions): readonly string[] {
  return certificate.names.length === 0 ? [NO_NAME] : certificate.names
}

/** @returns one index for each key type. */
function membersFor(name: string, offers: readonly Offer[]): number[] {
  const having = (wanted: string) =>
    [...offers.keys()].filter((index) => namesOf(at(offers, index).certificate).includes(wanted))
  const signable = (index: number) => at(offers, index).signable
  const own = having(name)
  const choices = [own.filter(signable), having(wildcardOf(name)).filter(signable), own]
  const members = choices.find((candidates) => candidates.length > 0) ?? []
  const byKeyType = new Map<string, number>()
  for (const index of members) {
    const { keyType } = at(offers, index).certificate
    if (!byKeyType.has(keyType)) byKeyType.set(keyType, index)
  }
  return [...byKeyType.values()]
}

/** `a.example.com` → `*.example.com`: one label (RFC 6125 §6.4.3). */
function wildcardOf(name: string): string {
  return name.replace(/^[^.]*/, '*')
}

/** What any of them can do, in the order of the table; OpenSSL's names are IANA's. */
function schemeList(offers: readonly Offer[]): string {
  const able = new Set(offers.flatMap((offer) => offer.schemes.map(({ name }) => name)))
  return schemes
    .filter(({ name }) => able.has(name))
    .map(({ name }) => name)
    .join(':')
}

function at(offers: readonly Offer[], index: number): Offer {
  const found = offers[index]
  if (found === undefined) throw new RangeError(`no certificate at ${index}`)
  return found
}

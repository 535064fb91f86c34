/** `sealgate keys csr` and `keys self-sign`: what a key says of itself, signed in the HSM and verified before anybody sees it. */

import { HsmError } from '../errors.ts'
import { onFirst } from '../keys/cluster.ts'
import { createFile, refuseUnwritable } from '../keys/files.ts'
import { signX509 } from '../keys/jobs.ts'
import { keyFields, withJournal } from '../keys/journal.ts'
import { type KeyName, keyNameText } from '../keys/key-facts.ts'
import {
  type AlternativeName,
  alternativeNameText,
  parseAlternativeName,
} from '../keys/x509/alternative-names.ts'
import { pem } from '../keys/x509/der.ts'
import {
  type DistinguishedName,
  distinguishedNameText,
  parseDistinguishedName,
} from '../keys/x509/distinguished-name.ts'
import { isSignedBy } from '../keys/x509/signed.ts'
import { subjectOf } from '../keys/x509/subject-of.ts'
import type { Subject } from '../keys/x509/to-be-signed.ts'
import { certificateUse, type KeyOptions, keyNameOf, type Target } from './key-target.ts'
import { tellUnsigned } from './keys-journal.ts'
import { usage } from './module-options.ts'
import type { Terminal } from './program.ts'

export interface RequestOptions extends KeyOptions {
  readonly subject?: string
  readonly san: readonly string[]
  /** Of the configuration: its key, and what it says of its subject. */
  readonly certificate?: string
  readonly out?: string
  readonly json: boolean
}

export function requestCertificate(
  target: Target,
  options: RequestOptions,
  terminal: Terminal,
): Promise<void> {
  return sign(target, options, { kind: 'csr', validity: null }, terminal)
}

export function selfSign(
  target: Target,
  options: RequestOptions & { readonly days: string },
  terminal: Terminal,
): Promise<void> {
  const days = Number(options.days)
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS) {
    throw usage(`--days ${options.days}: give a whole number of days, 1 to ${MAX_DAYS}`)
  }
  const nowMs = Math.floor(Date.now() / 1000) * 1000
  const validity = { notBeforeMs: nowMs - CLOCK_SKEW_MS, notAfterMs: nowMs + days * DAY_MS }
  return sign(target, options, { kind: 'self-sign', validity }, terminal)
}

interface Kind {
  readonly kind: 'csr' | 'self-sign'
  readonly validity: { readonly notBeforeMs: number; readonly notAfterMs: number } | null
}

async function sign(
  target: Target,
  options: RequestOptions,
  { kind, validity }: Kind,
  terminal: Terminal,
): Promise<void> {
  const { key, subject } = whatToSign(target, options)
  if (options.out !== undefined) refuseUnwritable(options.out)
  const { inventory, hsms } = target
  const names = subject.names.map(alternativeNameText)
  const command = {
    name: `keys ${kind}`,
    label: key.label,
    id: key.id,
    subject: distinguishedNameText(subject.subject),
    names,
  }
  const { value: signed, unsigned } = await withJournal(
    { audit: inventory?.audit, hsms: inventory?.hsms ?? hsms, config: inventory, command },
    (journal) =>
      journal.around(
        kind,
        {},
        () => onFirst(hsms, (hsm) => signX509(hsm, { key, ...copy(subject), validity })),
        keyFields,
      ),
  )
  // Once more, in this process and from the bytes that go out: nothing between the HSM and here is taken on trust.
  if (signed.key.spki === null || !isSignedBy(Buffer.from(signed.key.spki, 'base64'), signed.der)) {
    throw new HsmError(
      'ERR_HSM_BAD_SIGNATURE',
      `what the key ${keyNameText(signed.key)} has signed does not verify; nothing was written`,
    )
  }
  const text = pem(kind === 'csr' ? 'CERTIFICATE REQUEST' : 'CERTIFICATE', signed.der)
  tellUnsigned(unsigned, terminal)
  if (options.out !== undefined) createFile(options.out, text)
  if (options.json) {
    const { token, key, scheme } = signed
    const facts = {
      token,
      key,
      scheme,
      subject: command.subject,
      names,
      pem: text,
      file: options.out ?? null,
    }
    terminal.out(`${JSON.stringify(facts, null, 2)}\n`)
  } else if (options.out === undefined) terminal.out(text)
  else {
    const what = kind === 'csr' ? 'Request' : 'Certificate'
    const next =
      kind === 'csr'
        ? 'Send it to your CA; then: sealgate keys import-cert --chain CERTIFICATE.pem'
        : 'Nobody trusts it but who is told to.'
    terminal.out(
      `${what} for ${names.join(', ')} in ${options.out}, signed in token "${signed.token.label}" (${signed.scheme}) and verified.\n${next}\n`,
    )
  }
}

function whatToSign(
  target: Target,
  options: RequestOptions,
): { readonly key: KeyName; readonly subject: Subject } {
  const renewed = options.certificate === undefined ? undefined : fromCertificate(target, options.certificate)
  const key =
    options.label === undefined && options.id === undefined && renewed !== undefined
      ? renewed.key
      : keyNameOf(options)
  const names =
    options.san.length > 0
      ? options.san.flatMap((text) => text.split(',')).map(alternativeName)
      : (renewed?.names ?? [])
  const [first] = names
  if (first === undefined)
    throw usage(
      '--san is missing: the names that clients ask for, e.g. --san dns:www.example.com --san ip:192.0.2.1',
    )
  return { key, subject: { subject: subjectFrom(options.subject, renewed?.subject, first), names } }
}

/** The key of a certificate of the configuration, and what is said of its subject now. */
function fromCertificate(
  { inventory }: Target,
  wanted: string,
): {
  readonly key: KeyName
  readonly subject: DistinguishedName | undefined
  readonly names: readonly AlternativeName[] | undefined
} {
  if (inventory === undefined) throw usage('--certificate is one of a configuration: give --config FILE too')
  const { key, certificate } = certificateUse(inventory, wanted)
  const [leaf] = certificate?.chain ?? []
  const { subject, names } = leaf === undefined ? { subject: undefined, names: undefined } : subjectOf(leaf)
  const id = key.id === undefined ? null : Buffer.from(key.id).toString('hex')
  const spki = certificate === undefined ? null : Buffer.from(certificate.spki).toString('base64')
  return { key: { label: key.label ?? null, id, spki }, subject, names }
}

function subjectFrom(
  text: string | undefined,
  renewed: DistinguishedName | undefined,
  first: AlternativeName,
): DistinguishedName {
  try {
    if (text !== undefined) return parseDistinguishedName(text)
    // A longer one is left to the alternative names, where clients look anyway.
    return renewed ?? (first.value.length > 64 ? [] : [{ type: COMMON_NAME, value: first.value }])
  } catch (error) {
    throw error instanceof RangeError ? usage(`--subject: ${error.message}`) : error
  }
}

function alternativeName(text: string): AlternativeName {
  try {
    return parseAlternativeName(text.trim())
  } catch (error) {
    throw error instanceof RangeError ? usage(`--san: ${error.message}`) : error
  }
}

function copy({ subject, names }: Subject): {
  subject: { type: string; value: string }[]
  names: AlternativeName[]
} {
  return { subject: [...subject], names: [...names] }
}

const COMMON_NAME = '2.5.4.3'
const MAX_DAYS = 3650
const DAY_MS = 86_400_000
/** A client's clock may be a little behind. */
const CLOCK_SKEW_MS = 3_600_000

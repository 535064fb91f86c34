/** What can be done for one certificate, before anybody is asked. */

import type { OcspSubject } from '../native/addon.ts'
import type { StaplingSource } from './options.ts'

export type Plan =
  | { readonly kind: 'fetch'; readonly url: string; readonly request: Uint8Array }
  | { readonly kind: 'file'; readonly file: string }
  | {
      readonly kind: 'none'
      readonly reason: string
      /** Somebody has to act: it was asked for, or the certificate demands it. */
      readonly wanted: boolean
    }

export function planFor(stapling: StaplingSource, subject: OcspSubject): Plan {
  const { mustStaple } = subject
  const wanted = stapling.explicit || stapling.required || mustStaple
  if (stapling.kind === 'off')
    return { kind: 'none', reason: 'stapling is off', wanted: stapling.required || mustStaple }
  if (stapling.kind === 'file' && stapling.file !== undefined)
    return subject.request === undefined ? noIssuer(wanted) : { kind: 'file', file: stapling.file }
  const url = stapling.responder ?? chosen(subject.responders)
  if (url === undefined) {
    const reason = 'the certificate names no OCSP responder that is reached over http'
    return { kind: 'none', reason, wanted }
  }
  if (subject.request === undefined) return noIssuer(true)
  return { kind: 'fetch', url, request: subject.request }
}

/** http before https: the certificate of a responder may need a responder of its own. */
function chosen(responders: readonly string[]): string | undefined {
  const of = (protocol: string) => responders.find((url) => protocolOf(url) === protocol)
  return of('http:') ?? of('https:')
}

function protocolOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).protocol : undefined
}

function noIssuer(wanted: boolean): Plan {
  const reason =
    'the certificate of the issuer is not known: put it into chain behind the leaf, or name it in ocsp.issuer'
  return { kind: 'none', reason, wanted }
}

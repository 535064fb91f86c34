/** What `sealgate check` says of OCSP: each certificate's response is got once, and given to nobody. */

import type { NativeAddon } from '../native/addon.ts'
import type { StapledOptions, StaplingOptions } from './options.ts'
import { planFor } from './plan.ts'
import { Responder } from './responder.ts'
import { ResponseFile } from './response-file.ts'
import { responderAgent, subjectOf } from './stapling.ts'
import { time, type Verdict } from './verdict.ts'

export interface StaplingFinding {
  readonly level: 'ok' | 'warning' | 'error'
  /** The certificate's file. */
  readonly subject: string
  readonly message: string
}

/** All at once; takes two `timeoutMs` at most. */
export async function checkStapling(
  addon: Pick<NativeAddon, 'OcspSubject'>,
  certificates: readonly StapledOptions[],
  options: Pick<StaplingOptions, 'timeoutMs'>,
): Promise<StaplingFinding[]> {
  const dispatcher = responderAgent()
  try {
    return await Promise.all(
      certificates.map(async (certificate): Promise<StaplingFinding> => {
        const { subject } = subjectOf(addon, certificate)
        const plan = planFor(certificate.stapling, subject)
        const file = certificate.certificate.file
        const lack = lackOf(certificate.stapling.required, subject.mustStaple)
        if (plan.kind === 'none') {
          const level = plan.wanted ? lack.level : 'ok'
          return { level, subject: file, message: `no OCSP: ${plan.reason}${lack.consequence}` }
        }
        const source =
          plan.kind === 'file'
            ? new ResponseFile({ file: plan.file, subject })
            : new Responder({ ...plan, ...options, subject, dispatcher })
        const verdict = await source.ask(new AbortController().signal)
        return { subject: file, ...finding(verdict, source.place, lack) }
      }),
    )
  } finally {
    await dispatcher.destroy()
  }
}

interface Lack {
  readonly level: 'warning' | 'error'
  readonly consequence: string
}

/** What it means that there is no response. */
function lackOf(required: boolean, mustStaple: boolean): Lack {
  if (required) return { level: 'error', consequence: '; clients that ask for a response are refused' }
  if (mustStaple)
    return { level: 'warning', consequence: '; it is a MUST-STAPLE certificate: some clients will refuse it' }
  return { level: 'warning', consequence: '' }
}

function finding(
  verdict: Verdict | undefined,
  place: string,
  { level, consequence }: Lack,
): Omit<StaplingFinding, 'subject'> {
  if (verdict === undefined) return { level, message: `no OCSP response in ${place}${consequence}` }
  switch (verdict.outcome) {
    case 'good':
      return { level: 'ok', message: `OCSP good until ${time(verdict.staple.endsMs)}, from ${place}` }
    case 'revoked':
      return { level: 'error', message: `OCSP, from ${place}: ${verdict.message}` }
    default: {
      const { outcome, message } = verdict
      return { level, message: `no OCSP response from ${place} (${outcome}): ${message}${consequence}` }
    }
  }
}

/** An examination that ended before its time: which call it was. */

import { returnValue } from '../../hsm/ckr.ts'
import { schemes } from '../../signing.ts'
import { type Examination, endedBy, endingText } from '../examine.ts'
import type { Findings } from '../finding.ts'

export function endingFindings(examination: Examination, findings: Findings): void {
  const { end } = examination
  if (end === undefined) return
  const cause = endedBy(examination)
  // The module's own findings have said these.
  if (end.how === 'failed' && (cause === undefined || cause.call === 'C_Initialize')) return
  const { call = 'its child process, before the first call', about = '' } = examination.lastCall ?? {}
  const where = about === '' ? call : `${call} (${about})`
  const rest = call === 'C_Finalize' ? '' : '; what comes after it was not looked at'
  switch (end.how) {
    case 'crashed':
      findings.error(
        'module.crashed',
        `the module crashed in ${where}${rest}`,
        'update the module, and report it to its vendor; Sealgate survives it, but every crash costs the member a restart',
      )
      return
    case 'hung':
      findings.error(
        'module.hung',
        `the module hung in ${where}: no answer in time${rest}`,
        "is the HSM reachable from here, and does its vendor's own tool get an answer? With --timeout the doctor waits longer",
      )
      return
    case 'failed':
      findings.error(
        'module.failed',
        `${endingText(examination)}${rest}`,
        "look at the HSM's own log, and whether its vendor's tool gets an answer",
      )
  }
}

/** Calls that failed and that no other finding has spoken of. */
export function failureFindings(examination: Examination, findings: Findings): void {
  const seen = new Set<string>()
  for (const { call, about, name } of namedFailures(examination)) {
    if (isOfScheme(about) || seen.has(`${call} ${name}`)) continue
    seen.add(`${call} ${name}`)
    const where = about === '' ? '' : ` (${about})`
    const text = `${call} returned ${name}${where}`
    if (call === 'C_GetInfo' || call === 'C_Finalize' || call === 'C_GetMechanismInfo') {
      findings.note('module.call-failed', text, 'Sealgate does without it')
    } else {
      findings.error('module.call-failed', text, "Sealgate needs this call: look at the HSM's own log")
    }
  }
}

/** Said with the key. */
function isOfScheme(about: string): boolean {
  return schemes.some(({ name }) => about.endsWith(`, ${name}`))
}

export function namedFailures(
  examination: Examination,
): readonly { readonly call: string; readonly about: string; readonly name: string }[] {
  return examination.all('failed').map(({ call, about, rv }) => ({ call, about, name: returnValue(rv).name }))
}

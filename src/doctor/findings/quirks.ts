/** What is known of this module, as far as it concerns this configuration. */

import type { Examination } from '../examine.ts'
import type { Findings } from '../finding.ts'
import type { Situation } from '../quirk-table.ts'
import { keyTypesOf } from './keys.ts'
import { kindOf } from './module.ts'

export function quirkFindings(examination: Examination, findings: Findings): void {
  const kind = kindOf(examination)
  if (kind === undefined) {
    if (examination.one('library') !== undefined) {
      findings.note('quirk.unknown-module', 'nothing in particular is known of this module')
    }
    return
  }
  const { sessions, userType, env } = examination.patient.hsm
  const situation: Situation = { sessions, userType, env, keyTypes: keyTypesOf(examination) }
  for (const { id, level, fact, consequence, cure, when } of kind.quirks) {
    if (when?.(situation) === false) continue
    const message = `${kind.name}: ${fact}; ${consequence}`
    if (level === 'warning') findings.warning(`quirk.${id}`, message, cure)
    else findings.note(`quirk.${id}`, message, cure)
  }
}

/** Does the module load and start, and what is it? */

import { isForDrills } from '../../drill/module.ts'
import { type Examination, endedBy, endingText } from '../examine.ts'
import type { Findings } from '../finding.ts'
import { explainLoadFailure, foreignFile } from '../module-file.ts'
import { type ModuleKind, moduleKind } from '../quirk-table.ts'

export function moduleFindings(examination: Examination, findings: Findings): void {
  const { hsm } = examination.patient
  if (isForDrills(hsm.env)) {
    findings.warning(
      'module.drill',
      'the fault module stands before the real one: it is for drills only',
      'name the real module when the drill is over',
    )
  }
  const library = examination.one('library')
  if (library !== undefined) {
    const { manufacturer, description, version, cryptoki } = library
    findings.ok(
      'module.loads',
      `the module loads and starts: ${manufacturer}, ${description} ${version} (PKCS#11 ${cryptoki})`,
    )
    return
  }
  const kind = kindOf(examination)
  if (examination.end?.how === 'failed' && endedBy(examination) === undefined) {
    loadFindings(examination, findings)
  } else if (endedBy(examination)?.call === 'C_Initialize') {
    findings.error(
      'module.initialize',
      `the module loads, but does not start: ${endingText(examination)}`,
      kind?.environment ?? OWN_CONFIGURATION,
    )
  }
}

/** Whatever it is, as far as anybody knows. */
export function kindOf(examination: Examination): ModuleKind | undefined {
  const library = examination.one('library')
  return moduleKind(
    library && `${library.manufacturer} / ${library.description}`,
    examination.patient.hsm.module,
  )
}

function loadFindings(examination: Examination, findings: Findings): void {
  const { hsm } = examination.patient
  const message = endingText(examination)
  const foreign = foreignFile(hsm.module)
  if (foreign !== undefined) {
    findings.error(
      'module.foreign',
      `the module does not load: ${hsm.module} is ${foreign}, and this is ${process.platform}-${process.arch}`,
      `take the vendor's build for ${process.arch} Linux, or name the module itself: its manual has the path`,
    )
    return
  }
  const explained = explainLoadFailure(hsm.module, message)
  if (explained !== undefined) {
    findings.error('module.load', `the module does not load: ${explained.what}`, explained.cure)
    return
  }
  findings.error('module.load', message, `look at what it needs: ldd ${hsm.module}`)
}

/** What to look at when a module starts and is not content. */
export const OWN_CONFIGURATION =
  'look at what its vendor says of its configuration file and environment; the host gets only PATH, HOME and the like, and what env names'

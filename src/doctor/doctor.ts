/**
 * The preflight: looks at everything that Sealgate will need and says what is found, each finding with its cure.
 *
 * It changes nothing and needs nobody to stop: a proxy may run beside it. HSMs are looked at one after the other, and a
 * token that has refused a PIN is not asked again under another name.
 */

import type { Config } from '../config/config.ts'
import { tlsListeners } from '../config/tls-listeners.ts'
import type { ConfigProblem } from '../errors.ts'
import type { KeyMessage } from '../hsm/messages.ts'
import type { HsmOptions, KeyOptions } from '../hsm/options.ts'
import { loadAddon } from '../native/addon.ts'
import { schemeByCodePoint } from '../signing.ts'
import { tlsFindings } from '../tls/findings.ts'
import { type Examination, examine, type Patient } from './examine.ts'
import { tokenIdentity } from './facts.ts'
import { type Finding, Findings } from './finding.ts'
import { certificateFindings } from './findings/certificates.ts'
import { tokenClockFindings } from './findings/clock.ts'
import { endingFindings, failureFindings } from './findings/ending.ts'
import { keyFindings, keyTypesOf } from './findings/keys.ts'
import { type Demand, machineFindings } from './findings/machine.ts'
import { mechanismFindings } from './findings/mechanisms.ts'
import { moduleFindings } from './findings/module.ts'
import { quirkFindings } from './findings/quirks.ts'
import { softwareFindings, thisSoftware } from './findings/software.ts'
import { loginFindings, sessionFindings, tokenFindings } from './findings/tokens.ts'
import { readMachine } from './machine.ts'

export interface DoctorOptions {
  /** The longest that one PKCS#11 call may take. */
  readonly limitMs: number
  /** Called when a subject is done, with what was found there. */
  readonly onFindings?: (findings: readonly Finding[]) => void
}

/** Everything that a configuration names, and the machine. */
export async function examineConfig(config: Config, options: DoctorOptions): Promise<readonly Finding[]> {
  const report = new Collector(options)
  report.add(machine(demandOf(config)))
  report.add(warnings(config))
  const refused = new Set<string>()
  const examinations: Examination[] = []
  for (const hsm of config.hsms) {
    const patient = { hsm, keys: keysOn(hsm, config), anyToken: false, login: true }
    const examination = await examineOnce(patient, refused, options.limitMs)
    examinations.push(examination)
    report.add(hsmFindings(examination, config.signing.timeoutMs))
  }
  for (const { certificate } of config.certificates) {
    const findings = new Findings('configuration', certificate.file)
    certificateFindings(certificate, Date.now(), findings)
    report.add(findings)
  }
  report.add(served(config, examinations))
  return report.findings
}

/** One module that no configuration names yet. */
export async function examineModule(patient: Patient, options: DoctorOptions): Promise<readonly Finding[]> {
  const report = new Collector(options)
  report.add(machine({ threads: undefined, connections: undefined, filesPerConnection: HTTP_FILES }))
  report.add(hsmFindings(await examine(patient, options.limitMs), DEFAULT_TIMEOUT_MS))
  return report.findings
}

/** A configuration that does not load leaves the machine to look at. */
export function examineBrokenConfig(
  problems: readonly ConfigProblem[],
  options: DoctorOptions,
): readonly Finding[] {
  const report = new Collector(options)
  report.add(machine({ threads: undefined, connections: undefined, filesPerConnection: HTTP_FILES }))
  for (const { file, line, column, path, message } of problems) {
    const place = [file, line, column].filter((part) => part !== undefined).join(':')
    const findings = new Findings('configuration', place)
    findings.error(
      'configuration.problem',
      path === '' ? message : `${path}: ${message}`,
      'config/README.md explains every key; HSMs are looked at when the file loads',
    )
    report.add(findings)
  }
  return report.findings
}

class Collector {
  readonly findings: Finding[] = []
  readonly #onFindings: DoctorOptions['onFindings']

  constructor({ onFindings }: DoctorOptions) {
    this.#onFindings = onFindings
  }

  add({ list }: Findings): void {
    if (list.length === 0) return
    this.findings.push(...list)
    this.#onFindings?.(list)
  }
}

/** @param refused tokens that have said no to a PIN in this run; this one joins them if it does. */
async function examineOnce(patient: Patient, refused: Set<string>, limitMs: number): Promise<Examination> {
  const examination = await examine({ ...patient, refused: [...refused] }, limitMs)
  const { token } = examination
  if (token !== undefined && examination.one('login')?.outcome === 'refused')
    refused.add(tokenIdentity(token))
  return examination
}

function hsmFindings(examination: Examination, timeoutMs: number): Findings {
  const findings = new Findings('hsm', examination.patient.hsm.name)
  moduleFindings(examination, findings)
  tokenFindings(examination, findings)
  sessionFindings(examination, findings)
  mechanismFindings(examination, keyTypesOf(examination), findings)
  loginFindings(examination, findings)
  keyFindings(examination, timeoutMs, findings)
  tokenClockFindings(examination, Date.now(), findings)
  failureFindings(examination, findings)
  endingFindings(examination, findings)
  quirkFindings(examination, findings)
  return findings
}

function machine(demand: Demand): Findings {
  const findings = new Findings('machine', 'machine')
  const facts = readMachine()
  softwareFindings(thisSoftware(loadAddon), facts.nowMs, findings)
  machineFindings(facts, demand, findings)
  return findings
}

function warnings({ file, warnings, certificates }: Config): Findings {
  const findings = new Findings('configuration', file)
  // Dates are said with each certificate.
  const isDate = (text: string): boolean =>
    certificates.some(({ certificate }) => text.includes(certificate.file)) &&
    /expire|not valid before/.test(text)
  findings.ok('configuration.loads', 'the configuration loads')
  for (const warning of warnings.filter((text) => !isDate(text))) {
    findings.warning('configuration.warning', warning, 'config/README.md explains every key')
  }
  return findings
}

/** What clients will be offered, as far as the HSMs that were looked at can sign it. */
function served(config: Config, examinations: readonly Examination[]): Findings {
  const findings = new Findings('configuration', config.file)
  const signable = config.certificates.map(({ certificate, key }) => {
    const codePoints = new Set(
      examinations
        .filter(({ patient }) => key.hsms.includes(patient.hsm.name))
        .flatMap((examination) => {
          const { uri } = selectorOn(key, examination.patient.hsm.name)
          return examination
            .all('signature')
            .filter((signature) => signature.key === uri)
            .map(({ scheme }) => scheme)
        }),
    )
    return {
      certificate,
      schemes: [...codePoints].flatMap((codePoint) => schemeByCodePoint(codePoint) ?? []),
    }
  })
  // Where no HSM signs at all, the HSMs' own findings have said so.
  const signed = signable.filter(({ schemes }) => schemes.length > 0)
  for (const { level, subject, message } of tlsFindings(tlsListeners(config), signed)) {
    const text = `${subject}: ${message}`
    if (level === 'ok') findings.ok('listener.policy', text)
    else if (level === 'warning')
      findings.warning('listener.certificate', text, 'see what is said of the HSMs of its key')
    else findings.error('listener.certificate', text, 'see what is said of the HSMs of its key')
  }
  return findings
}

function keysOn({ name }: HsmOptions, { certificates, audit }: Config): readonly KeyMessage[] {
  const message = (key: KeyOptions, spki: Uint8Array, purpose: KeyMessage['purpose']): KeyMessage[] => {
    if (!key.hsms.includes(name)) return []
    const { uri, label, id } = selectorOn(key, name)
    return [
      {
        uri,
        label: label ?? null,
        idHex: id === undefined ? null : Buffer.from(id).toString('hex'),
        spki: Buffer.from(spki).toString('base64'),
        purpose,
      },
    ]
  }
  return [
    ...certificates.flatMap(({ certificate, key }) => message(key, certificate.spki, 'tls')),
    ...(audit?.checkpoint === undefined
      ? []
      : message(audit.checkpoint.key, audit.checkpoint.spki, 'audit-checkpoint')),
  ]
}

function selectorOn(key: KeyOptions, hsm: string): Pick<KeyOptions, 'uri' | 'label' | 'id'> {
  return key.byHsm?.get(hsm) ?? key
}

function demandOf({ listeners, threads }: Config): Demand {
  const limits = listeners.flatMap((listener) =>
    listener.protocol === 'redirect' ? [] : [listener.limits.connections],
  )
  const known = limits.filter((limit) => limit !== undefined)
  const http = listeners.some(({ protocol }) => protocol === 'http')
  return {
    threads,
    connections: known.length < limits.length ? undefined : known.reduce((sum, limit) => sum + limit, 0),
    filesPerConnection: http ? HTTP_FILES : TCP_FILES,
  }
}

/** Client, upstream; and the socket pair to the HTTP worker. */
const TCP_FILES = 2
const HTTP_FILES = 4
/** signing.timeout where there is no configuration. */
const DEFAULT_TIMEOUT_MS = 2000

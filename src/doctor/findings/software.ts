/** Node, its OpenSSL, and the addon. What is known of releases was known when this version was made. */

import { createSecureContext } from 'node:tls'

import type { Findings } from '../finding.ts'

export interface Software {
  /** e.g. `20.20.2`. */
  readonly node: string
  /** e.g. `3.0.19`; Node appends what it is built with (`+quic`). */
  readonly openssl: string
  readonly postQuantum: boolean
  /** Why the addon does not load; undefined: it does. */
  readonly addonProblem: string | undefined
}

/** Of the Node that runs this. @param loadAddon throws when the addon does not load. */
export function thisSoftware(loadAddon: () => unknown): Software {
  return {
    node: process.versions.node,
    openssl: process.versions.openssl,
    postQuantum: hasGroup('X25519MLKEM768'),
    addonProblem: problemOf(loadAddon),
  }
}

export function softwareFindings(software: Software, nowMs: number, findings: Findings): void {
  const { node, openssl, postQuantum, addonProblem } = software
  const support = (what: string, end: number | undefined): string =>
    end === undefined
      ? `${what}, of which this version knows nothing`
      : `${what}, supported until ${day(end)}`
  const nodeEnd = dateOf(NODE_SUPPORT[Number(node.split('.')[0])])
  if (nodeEnd !== undefined && nowMs > nodeEnd) {
    findings.warning(
      'software.node',
      `Node ${node} gets no security fixes since ${day(nodeEnd)}, and its OpenSSL neither`,
      'run Sealgate with Node 24 or newer: the same addon serves all',
    )
  } else findings.ok('software.node', support(`Node ${node}`, nodeEnd))

  const series = openssl.split('.').slice(0, 2).join('.')
  const opensslEnd = dateOf(OPENSSL_SUPPORT[series])
  if (opensslEnd !== undefined && nowMs > opensslEnd) {
    findings.warning(
      'software.openssl',
      `OpenSSL ${openssl}, which Node brings, gets no public fixes since ${day(opensslEnd)}`,
      'take a newer release line of Node: it brings a newer OpenSSL',
    )
  } else findings.ok('software.openssl', support(`OpenSSL ${openssl}, which Node brings`, opensslEnd))

  if (postQuantum) findings.ok('software.post-quantum', 'the post-quantum group X25519MLKEM768 is there')
  else {
    findings.note(
      'software.post-quantum',
      'no post-quantum group (X25519MLKEM768): what is recorded today may be read by a quantum computer one day',
      'it comes with OpenSSL 3.5, which Node 24 has',
    )
  }
  if (addonProblem === undefined) findings.ok('software.addon', 'the native addon loads')
  else
    findings.error('software.addon', addonProblem, 'npm run build:native, with the Node that runs Sealgate')
}

function hasGroup(name: string): boolean {
  try {
    createSecureContext({ ecdhCurve: name })
    return true
  } catch {
    return false
  }
}

function problemOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** The end of that day. */
function dateOf(day: string | undefined): number | undefined {
  return day === undefined ? undefined : Date.parse(`${day}T23:59:59Z`)
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

/** Last day of security support by major version: the release schedule of nodejs/Release. */
const NODE_SUPPORT: Readonly<Record<number, string>> = {
  18: '2025-04-30',
  20: '2026-04-30',
  21: '2024-06-01',
  22: '2027-04-30',
  23: '2025-06-01',
  24: '2028-04-30',
  25: '2026-06-01',
  26: '2029-04-30',
}
/** Last day of public support by series: the release strategy of openssl.org. */
const OPENSSL_SUPPORT: Readonly<Record<string, string>> = {
  '1.1': '2023-09-11',
  '3.0': '2026-09-07',
  '3.1': '2025-03-14',
  '3.2': '2025-11-23',
  '3.3': '2026-04-09',
  '3.4': '2026-10-22',
  '3.5': '2030-04-08',
  '3.6': '2026-11-01',
}

/** Clock, processor, open files: what a machine needs that ends TLS for many. */

import type { Findings } from '../finding.ts'
import type { Machine } from '../machine.ts'

export interface Demand {
  /** Threads that the configuration asks for; undefined without one. */
  readonly threads: { readonly tls: number; readonly http: number } | undefined
  /** Connections that all listeners together admit; undefined where one of them admits any number. */
  readonly connections: number | undefined
  /** Descriptors for each of them: 2 for a relay, 4 where HTTP workers and upstream connections come in. */
  readonly filesPerConnection: number
}

export function machineFindings(machine: Machine, demand: Demand, findings: Findings): void {
  clockFindings(machine, findings)
  coreFindings(machine, demand, findings)
  fileFindings(machine, demand, findings)
  processorFindings(machine, findings)
}

function clockFindings({ nowMs, builtMs, clockSynchronized }: Machine, findings: Findings): void {
  const now = new Date(nowMs).toISOString()
  if (nowMs < builtMs - DAY_MS) {
    findings.error(
      'machine.clock',
      `the clock says ${now}, and this program was built on ${new Date(builtMs).toISOString()}`,
      'set the clock of this machine, and have a time service hold it (timedatectl set-ntp true)',
    )
  } else if (clockSynchronized === false) {
    findings.warning(
      'machine.clock',
      `the clock says ${now}, and no time service holds it`,
      'timedatectl set-ntp true, or chrony',
    )
  } else {
    findings.ok(
      'machine.clock',
      `the clock says ${now}${clockSynchronized === true ? ', held by a time service' : ''}`,
    )
  }
}

function coreFindings({ cores, coreQuota }: Machine, { threads }: Demand, findings: Findings): void {
  const usable = Math.min(cores, coreQuota ?? cores)
  const have =
    coreQuota !== undefined && coreQuota < cores
      ? `${cores} cores, of which this control group may use ${coreQuota}`
      : `${cores} cores`
  if (threads === undefined) {
    findings.ok('machine.cores', have)
    return
  }
  const text = `${have}, for ${threads.tls} TLS and ${threads.http} HTTP threads`
  if (threads.tls > Math.ceil(usable) || threads.http > Math.ceil(usable)) {
    findings.warning(
      'machine.cores',
      text,
      `set threads.tls and threads.http to ${Math.max(1, Math.ceil(usable))}: threads without a core of their own only wait for each other`,
    )
  } else findings.ok('machine.cores', text)
}

function fileFindings(
  { openFiles }: Machine,
  { connections, filesPerConnection }: Demand,
  findings: Findings,
): void {
  if (openFiles === undefined) return
  const room = Math.max(0, Math.floor((openFiles - OWN_FILES) / filesPerConnection))
  if (connections !== undefined && connections > room) {
    findings.warning(
      'machine.open-files',
      `${openFiles} open files are allowed, room for about ${room} connections; the listeners admit ${connections}`,
      `allow ${OWN_FILES + connections * filesPerConnection}: LimitNOFILE= in the systemd unit, ulimit -n in a shell, --ulimit nofile= in Docker; or lower max_connections`,
    )
  } else if (connections === undefined && openFiles < FEW_FILES) {
    findings.warning(
      'machine.open-files',
      `${openFiles} open files are allowed, room for about ${room} connections, and the listeners admit any number`,
      `LimitNOFILE=${MANY_FILES} in the systemd unit, ulimit -n in a shell, --ulimit nofile= in Docker; or set listeners[].max_connections`,
    )
  } else {
    const enough = connections === undefined ? '' : `; the listeners admit ${connections}`
    findings.ok(
      'machine.open-files',
      `${openFiles} open files are allowed, room for about ${room} connections${enough}`,
    )
  }
}

function processorFindings({ cpuFlags, architecture }: Machine, findings: Findings): void {
  const features = FEATURES[architecture]
  if (features === undefined || cpuFlags.size === 0) {
    findings.note('machine.processor', 'the processor does not say what it can do for cryptography')
    return
  }
  const has = (flag: string) => cpuFlags.has(flag)
  const there = features.all.filter(has)
  if (features.needed.every(has)) {
    findings.ok('machine.processor', `the processor has instructions for cryptography: ${there.join(' ')}`)
    return
  }
  findings.warning(
    'machine.processor',
    `the processor lacks ${features.needed.filter((flag) => !has(flag)).join(' ')}: AES-GCM costs several times as much`,
    'in a virtual machine pass the host’s processor through (cpu host); else clients that prefer ChaCha20 cost least',
  )
}

const FEATURES: Readonly<
  Record<string, { readonly needed: readonly string[]; readonly all: readonly string[] }>
> = {
  x64: {
    needed: ['aes', 'pclmulqdq'],
    all: ['aes', 'pclmulqdq', 'vaes', 'vpclmulqdq', 'avx2', 'avx512f', 'sha_ni', 'bmi2', 'adx'],
  },
  arm64: { needed: ['aes', 'pmull'], all: ['aes', 'pmull', 'sha1', 'sha2', 'sha512', 'sve'] },
}
const DAY_MS = 86_400_000
/** Of a quiet proxy, for its listeners, threads, hosts and log; generous. */
const OWN_FILES = 256
const FEW_FILES = 4096
const MANY_FILES = 65_536

/** Which machine a measurement was made on. */

import { availableParallelism, cpus, release, totalmem, type } from 'node:os'

import type { SignReport } from './report/sign-report.ts'

export function machineFacts(): SignReport['machine'] {
  return {
    processor: cpus()[0]?.model.trim() || process.arch,
    processors: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    node: process.version,
    openssl: process.versions.openssl,
  }
}

/** One line for people. */
export function machineText(machine: SignReport['machine']): string {
  const { processor, processors, memoryBytes, system, node, openssl } = machine
  const memory = `${Math.round(memoryBytes / 2 ** 30)} GiB`
  return `${processor}, ${processors} ${processors === 1 ? 'processor' : 'processors'}, ${memory}, ${system}; Node ${node} with OpenSSL ${openssl}`
}

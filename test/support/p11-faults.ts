/** Puts p11-faults.c between a host and SoftHSM, and tells it how to misbehave. */

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { returnValueNumber } from '../../src/hsm/ckr.ts'
import type { HsmOptions } from '../../src/hsm/options.ts'
import type { SoftHsm } from './softhsm.ts'

const SEEN_AFTER_MS = 3
const SOURCE = fileURLToPath(new URL('../../src/drill/p11-faults.c', import.meta.url))

export class Faults {
  readonly #module: string
  readonly #control: string
  readonly #log: string
  readonly #hsm: SoftHsm

  /** @param name one per member, so that each can be told something else. */
  constructor(hsm: SoftHsm, name: string) {
    this.#hsm = hsm
    this.#module = buildFaultsModule(hsm.directory)
    this.#control = join(hsm.directory, `${name}.faults`)
    this.#log = join(hsm.directory, `${name}.calls`)
    this.clear()
  }

  /** What a member needs to be reached through the faults. */
  get options(): Pick<HsmOptions, 'module' | 'env'> {
    return { module: this.#module, env: this.env }
  }

  get env(): Record<string, string> {
    return {
      ...this.#hsm.env,
      SEALGATE_FAULTS_MODULE: this.#hsm.module,
      SEALGATE_FAULTS_CONTROL: this.#control,
      SEALGATE_FAULTS_LOG: this.#log,
    }
  }

  /**
   * Waits until every call that begins from now on sees them; the module looks at its file every 2 ms.
   *
   * @param rules as at the top of p11-faults.c; `CKR_…` names are turned into their numbers.
   */
  set(...rules: readonly string[]): void {
    const text = rules.map((rule) => rule.replace(/CKR_\w+/g, ckrNumber)).join('\n')
    // Replaced, never rewritten: the module must not read half of it.
    writeFileSync(`${this.#control}.new`, `${text}\n`)
    renameSync(`${this.#control}.new`, this.#control)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SEEN_AFTER_MS)
  }

  clear(): void {
    this.set()
  }

  /** How often the real module or a fault answered this call, over all processes. */
  calls(name: string): number {
    return this.callers(name).length
  }

  /** The process that made each of these calls, in order. */
  callers(name: string): readonly number[] {
    if (!existsSync(this.#log)) return []
    return readFileSync(this.#log, 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
      .flatMap(([pid, call]) => (call === name ? [Number(pid)] : []))
  }
}

/** @returns the path of the compiled module. */
export function buildFaultsModule(directory: string): string {
  const output = join(directory, 'p11-faults.so')
  if (existsSync(output)) return output
  const flags = ['-std=c17', '-O2', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared', '-fvisibility=hidden']
  try {
    execFileSync('cc', [...flags, '-o', output, SOURCE, '-ldl'], { stdio: 'pipe' })
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw new Error('no C compiler; install one: apt-get install build-essential', { cause })
    }
    throw cause
  }
  return output
}

function ckrNumber(name: string): string {
  const rv = returnValueNumber(name)
  if (rv === undefined) throw new Error(`unknown return value ${name}`)
  return `0x${rv.toString(16)}`
}

/** The fault module: compiled where it is needed, put between one HSM host and its real module. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { SealgateError } from '../errors.ts'

/** In the package and in a checkout, for src/ and dist/ alike. */
const SOURCE = fileURLToPath(new URL('../../src/drill/p11-faults.c', import.meta.url))

/**
 * Compiles it with the system's C compiler.
 *
 * @param output path of the shared library to write.
 * @throws {SealgateError} `ERR_DRILL` with the cure.
 */
export async function compileFaultModule(output: string): Promise<void> {
  if (!existsSync(SOURCE)) throw new SealgateError('ERR_DRILL', `${SOURCE} is not here; ${ELSEWHERE}`)
  try {
    await promisify(execFile)('cc', [...FLAGS, '-o', `${output}.new`, SOURCE, '-ldl'])
    // Replaced, never rewritten: a host may be running the one that is there.
    await rename(`${output}.new`, output)
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')
      throw new SealgateError(
        'ERR_DRILL',
        `there is no C compiler here: install one (apt-get install gcc libc6-dev), or ${ELSEWHERE}`,
        { cause },
      )
    const reason = cause instanceof Error && 'stderr' in cause ? String(cause.stderr) : String(cause)
    throw new SealgateError('ERR_DRILL', `the fault module does not compile:\n${reason.trimEnd()}`, { cause })
  }
}

/** What the host's environment must say. Paths are absolute. */
export function faultEnvironment(paths: { real: string; control: string }): Record<string, string> {
  return { [REAL_MODULE]: paths.real, SEALGATE_FAULTS_CONTROL: paths.control }
}

/** Whether a host with this environment is one for drills. */
export function isForDrills(env: Readonly<Record<string, string>>): boolean {
  return REAL_MODULE in env
}

const REAL_MODULE = 'SEALGATE_FAULTS_MODULE'
const FLAGS = ['-std=c17', '-O2', '-Wall', '-Wextra', '-fPIC', '-shared', '-fvisibility=hidden']
const ELSEWHERE = 'build the module on a machine of the same kind and copy it here'

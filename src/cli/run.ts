/** `sealgate run`: from a configuration file to a proxy that runs until it is told to stop. */

import { type StartOptions, startApp } from '../app.ts'
import { loadConfig } from '../config/load.ts'
import { createLog } from '../log.ts'
import { serveUntilSignal } from './signals.ts'

/**
 * @returns the exit status: 0 after a drain, 128 + signal when a second signal stopped it.
 * @throws {SealgateError} what keeps it from starting, or ends its wait for an HSM.
 */
export async function run(file: string, options: StartOptions): Promise<number> {
  const config = await loadConfig(file)
  const { log, flush } = createLog({ level: config.log.level, sync: true })
  for (const warning of config.warnings) log.warn(warning)
  try {
    return await serveUntilSignal({ signals: process, log, start: () => startApp(config, options) })
  } finally {
    flush()
  }
}

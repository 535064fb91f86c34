/** `sealgate run`: from a configuration file to a proxy that runs until it is told to stop. */

import { closeSync, openSync } from 'node:fs'
import { resolve } from 'node:path'
import { startApp } from '../app.ts'
import { dropKeyLogVariable } from '../config/environment.ts'
import { loadConfig } from '../config/load.ts'
import { SealgateError } from '../errors.ts'
import { createLog, type Log } from '../log.ts'
import { loadAddon } from '../native/addon.ts'
import { hupCame } from './early-hup.ts'
import { serveUntilSignal } from './signals.ts'

/**
 * @returns the exit status: 0 after a drain, 128 + signal when a second signal stopped it.
 * @throws {SealgateError} what keeps it from starting, or ends its wait for an HSM.
 */
export async function run(
  file: string,
  { strict, unsafeKeyLog }: { strict: boolean; unsafeKeyLog?: string },
): Promise<number> {
  const config = await loadConfig(file)
  const { log, flush } = createLog({ level: config.log.level })
  for (const warning of config.warnings) log.warn(warning)
  if (dropKeyLogVariable()) {
    log.warn('SSLKEYLOGFILE is ignored; run --unsafe-key-log FILE writes the secrets of connections')
  }
  if (config.threads.scheduling === 'batch') scheduleAsBatch(log)
  const keyLogFd = unsafeKeyLog === undefined ? undefined : openKeyLog(unsafeKeyLog, log)
  try {
    const start = (signal: AbortSignal) =>
      startApp(config, { strict, signal, ...(keyLogFd !== undefined && { keyLogFd }) })
    return await serveUntilSignal({ signals: process, log, start, hupCame: hupCame() })
  } finally {
    if (keyLogFd !== undefined) closeSync(keyLogFd)
    flush()
  }
}

/** Before anything starts: threads and processes inherit it. */
function scheduleAsBatch(log: Log): void {
  try {
    loadAddon().scheduleAsBatch()
  } catch (error) {
    if (error instanceof SealgateError) throw error
    log.warn(
      { err: error },
      'the kernel refuses SCHED_BATCH; threads are scheduled as usual, which costs more CPU under load',
    )
  }
}

/** @throws {SealgateError} `ERR_USAGE` when the file cannot be written. */
function openKeyLog(file: string, log: Log): number {
  try {
    const fd = openSync(file, 'a', 0o600)
    log.warn(
      { file: resolve(file) },
      'UNSAFE: the secrets of every connection are written to a file; whoever reads it can decrypt all traffic',
    )
    return fd
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new SealgateError('ERR_USAGE', `cannot write --unsafe-key-log ${file}: ${reason}`, { cause })
  }
}

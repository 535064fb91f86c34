/** Reports on disk: read with an answer for everything that can be wrong, and writable before an hour is measured. */

import { accessSync, constants, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import { SealgateError } from '../../errors.ts'
import { parseSignReport, SIGN_REPORT_FORMAT, SIGN_REPORT_VERSION, type SignReport } from './sign-report.ts'

/** @throws {SealgateError} `ERR_BENCH_READ` when there is no such file, `ERR_BENCH_REPORT` when it is no report. */
export function readSignReport(file: string): SignReport {
  const value = parseJson(file, readText(file))
  const kind = fieldsOf(value)
  if (kind['format'] !== SIGN_REPORT_FORMAT) {
    const what =
      kind['format'] === 'sealgate-bench-handshake'
        ? 'is a report of `bench handshake`; this wants one of `bench sign`'
        : 'is JSON, but no report of `sealgate bench sign --json`'
    throw new SealgateError('ERR_BENCH_REPORT', `${file} ${what}`)
  }
  if (kind['version'] !== SIGN_REPORT_VERSION) {
    throw new SealgateError(
      'ERR_BENCH_REPORT',
      `${file} is a report of version ${String(kind['version'])}; this Sealgate reads version ${SIGN_REPORT_VERSION}: measure again, or use the Sealgate that wrote it (${String(kind['sealgate'] ?? 'unknown')})`,
    )
  }
  const report = parseSignReport(value)
  if ('wrong' in report) {
    throw new SealgateError('ERR_BENCH_REPORT', `${file} is damaged: ${report.wrong}`)
  }
  return report
}

/**
 * Before the measurement: can these be written later?
 *
 * @throws {SealgateError} `ERR_BENCH_WRITE`
 */
export function checkWritable(files: readonly (string | undefined)[]): void {
  for (const file of files) {
    if (file === undefined) continue
    try {
      const stats = statSync(file, { throwIfNoEntry: false })
      if (stats?.isDirectory() === true) throw new Error('it is a folder')
      accessSync(stats === undefined ? dirname(resolve(file)) : file, constants.W_OK)
    } catch (cause) {
      throw cannotWrite(file, cause)
    }
  }
}

/** @throws {SealgateError} `ERR_BENCH_WRITE` */
export function writeReport(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (cause) {
    throw cannotWrite(file, cause)
  }
}

function cannotWrite(file: string, cause: unknown): SealgateError {
  return new SealgateError('ERR_BENCH_WRITE', `cannot write ${file}: ${reasonOf(cause)}`, { cause })
}

function readText(file: string): string {
  try {
    if (statSync(file).size > MAX_REPORT_BYTES) throw new Error(`is larger than ${MAX_REPORT_BYTES} bytes`)
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SealgateError('ERR_BENCH_READ', `cannot read ${file}: ${reasonOf(cause)}`, { cause })
  }
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const what = text.trim() === '' ? 'is empty' : `is not JSON (${reasonOf(cause)})`
    throw new SealgateError('ERR_BENCH_REPORT', `${file} ${what}; reports are written by --json FILE`, {
      cause,
    })
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function reasonOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  return REASONS[code] ?? (cause instanceof Error ? cause.message : String(cause))
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'no permission',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is no folder',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
}
const MAX_REPORT_BYTES = 64 * 1024 * 1024

/** Names that a configuration gives, for completion: from a file that may be half written and wrong in a dozen places. */

import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'

import { readCertificateFile } from './certificate-file.ts'
import { readTextFile } from './files.ts'

/** @returns the names of `hsms`; of `certificates` the files as written, and their DNS names. Never throws. */
export function configNames(file: string): {
  readonly hsms: readonly string[]
  readonly certificates: readonly string[]
} {
  const read = readTextFile(file, { maxBytes: MAX_BYTES, encoding: 'utf8' })
  const config = 'error' in read ? {} : lenientParse(read.text)
  const { hsms, certificates } = record(config)
  const chains = (Array.isArray(certificates) ? certificates : []).flatMap((entry: unknown) => {
    const { chain } = record(entry)
    return typeof chain === 'string' ? [chain] : []
  })
  const names = chains.flatMap(
    (chain) => readCertificateFile(resolve(dirname(file), chain)).certificate?.names ?? [],
  )
  return { hsms: Object.keys(record(hsms)), certificates: [...new Set([...chains, ...names])] }
}

function lenientParse(text: string): unknown {
  try {
    return parse(text, { logLevel: 'silent' })
  } catch {
    return undefined
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}
}

// As for loading it.
const MAX_BYTES = 4_194_304

/** `audit` → AuditOptions: a directory to write in, and for checkpoints a key that signs nothing else. */

import { createPublicKey, type KeyObject } from 'node:crypto'
import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'

import type { AuditOptions, CheckpointOptions } from '../audit/options.ts'
import { type ResolvedCertificate, resolveKey } from './certificates.ts'
import { absolutePath, type Context } from './entries.ts'
import { readTextFile } from './files.ts'
import type { AuditEntry } from './schema.ts'

/** What the checkpoint key is compared with. */
export interface AuditSurroundings {
  readonly hsmNames: ReadonlySet<string>
  readonly certificates: readonly ResolvedCertificate[]
}

/** @returns undefined when there is no audit log, or too little of it. */
export function resolveAudit(
  entry: AuditEntry,
  surroundings: AuditSurroundings,
  context: Context,
): AuditOptions | undefined {
  if (entry === undefined) return undefined
  const file = absolutePath(context, entry.file)
  const fault = placeFault(file)
  if (fault !== undefined) context.report.error(['audit', 'file'], fault)
  if (entry.checkpoint === undefined) {
    context.report.warn(
      ['audit'],
      'has no checkpoint: whoever can write the file can write it anew without a trace; name a key in an HSM to sign it with',
    )
  }
  return {
    file,
    rotateBytes: entry.rotate,
    keep: entry.keep,
    fsync: typeof entry.fsync === 'number' ? { everyMs: entry.fsync } : entry.fsync,
    overflow: entry.overflow,
    bufferBytes: entry.buffer,
    checkpoint: entry.checkpoint && resolveCheckpoint(entry.checkpoint, surroundings, context),
  }
}

/** The log makes its file itself, but not the directory: a volume that is not mounted must not go unnoticed. */
function placeFault(file: string): string | undefined {
  const directory = dirname(file)
  try {
    if (!statSync(directory).isDirectory()) return `${directory} is not a directory`
    accessSync(directory, constants.W_OK | constants.X_OK)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    return code === 'ENOENT'
      ? `there is no directory ${directory}: make it, for the user that runs Sealgate only (mkdir -m 700)`
      : `the user that runs Sealgate may not write in ${directory}`
  }
  return statSync(file, { throwIfNoEntry: false })?.isFile() === false ? `${file} is not a file` : undefined
}

function resolveCheckpoint(
  entry: NonNullable<NonNullable<AuditEntry>['checkpoint']>,
  { hsmNames, certificates }: AuditSurroundings,
  context: Context,
): CheckpointOptions | undefined {
  const path = ['audit', 'checkpoint']
  const key = resolveKey([...path, 'key'], entry.key, hsmNames, context)
  const spki = readPublicKey([...path, 'public_key'], entry.public_key, context)
  if (key === undefined || spki === undefined) return undefined
  const shared = certificates.find(({ certificate }) => spki.equals(certificate.spki))
  if (shared !== undefined) {
    context.report.error(
      [...path, 'public_key'],
      `is the key of ${shared.certificate.file}: a key that signs handshakes signs no checkpoints; generate one of its own`,
    )
  }
  return { key, spki, everyMs: entry.every, everyRecords: entry.records }
}

/** @returns DER SubjectPublicKeyInfo. */
function readPublicKey(path: readonly string[], name: string, context: Context): Buffer | undefined {
  const file = absolutePath(context, name)
  const read = readTextFile(file, { maxBytes: MAX_FILE_BYTES, encoding: 'latin1' })
  if ('error' in read) {
    context.report.error(path, read.error)
    return undefined
  }
  if (read.text.includes('PRIVATE KEY-----')) {
    context.report.error(path, `${file} holds a private key: give the public one only`, 'ERR_CONFIG_SECRET')
    return undefined
  }
  const key = parsePublicKey(read.text)
  if (key === undefined) {
    context.report.error(
      path,
      `${file} holds no usable public key: give PEM, a public key or a certificate, RSA (2048 to 4096 bits), ECDSA (P-256, P-384, P-521) or Ed25519`,
    )
  }
  return key?.export({ format: 'der', type: 'spki' })
}

function parsePublicKey(pem: string): KeyObject | undefined {
  try {
    const key = createPublicKey(pem)
    const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
    const usable =
      key.asymmetricKeyType === 'ed25519' ||
      CURVES.has(namedCurve) ||
      (modulusLength >= 2048 && modulusLength <= 4096)
    return usable ? key : undefined
  } catch {
    return undefined
  }
}

const MAX_FILE_BYTES = 65_536
/** OpenSSL's names. */
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])

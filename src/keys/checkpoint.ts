/** A checkpoint of the journal, signed by the same key that signs those of the audit log. */

import { z } from 'zod'

import type { Head } from '../audit/chain.ts'
import { spkiFingerprint } from '../audit/key-use-record.ts'
import type { CheckpointOptions } from '../audit/options.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { runTokenJob } from '../token/run-token-job.ts'
import type { CheckpointArgs } from './checkpoint-job.ts'
import { onFirst } from './cluster.ts'

/** @returns the fields of the record. @throws {HsmError} when no member can sign; the last one's. */
export async function signCheckpoint(
  { key, spki }: CheckpointOptions,
  hsms: readonly HsmOptions[],
  head: Head,
): Promise<{ readonly key: object; readonly scheme: string; readonly signature: string }> {
  const members = hsms.filter(({ name }) => key.hsms.includes(name))
  return onFirst(members, async (hsm) => {
    const { label, id } = key.byHsm?.get(hsm.name) ?? key
    const idHex = id === undefined ? null : Buffer.from(id).toString('hex')
    const name = { label: label ?? null, id: idHex, spki: Buffer.from(spki).toString('base64') }
    const signed = await runTokenJob(hsm, {
      job: new URL('./checkpoint-job.ts', import.meta.url),
      args: { key: name, head } satisfies CheckpointArgs,
      result: (value) => signedSchema.parse(value),
      limitMs: LIMIT_MS,
    })
    return { key: { uri: key.uri, spkiSha256: spkiFingerprint(spki) }, ...signed }
  })
}

const signedSchema = z.object({ scheme: z.string(), signature: z.string() })
const LIMIT_MS = 30_000

/** Is a checkpoint what the key in the HSM has signed, and does it fit the chain it stands in? */

import type { KeyObject } from 'node:crypto'

import { isSignature } from '../hsm/verify-signature.ts'
import { schemes } from '../signing.ts'
import { checkpointMessage } from './checkpoint-message.ts'
import { spkiFingerprint } from './key-use-record.ts'
import { numberOf, objectOf, type SealedLine, textOf } from './record.ts'

/** The last record it covers, or what is wrong with it. */
export type CheckpointCheck = { readonly covers: number } | { readonly wrong: string }

export interface ChainSoFar {
  /** As the chain has it; undefined for records that are not here or too long ago. */
  readonly hashOf: (seq: number) => string | undefined
  /** The first record that was given. */
  readonly firstSeq: number
  /** undefined: signatures are not looked at. */
  readonly publicKey: KeyObject | undefined
}

export function checkCheckpoint(record: SealedLine, chain: ChainSoFar): CheckpointCheck {
  const covers = objectOf(record.fields['covers'])
  const head = { seq: numberOf(covers['seq']), hash: textOf(covers['hash']) }
  if (head.seq < 1 || head.seq >= record.seq) return { wrong: 'it names no record before it' }
  const known = chain.hashOf(head.seq)
  if (known === undefined && head.seq >= chain.firstSeq) {
    return { wrong: `it covers record ${head.seq}, which is not here` }
  }
  if (known !== undefined && known !== head.hash) {
    return { wrong: `record ${head.seq} is not the one that was signed` }
  }
  if (chain.publicKey === undefined) return { covers: head.seq }
  const wrong = signatureFault(record, checkpointMessage(head), chain.publicKey)
  return wrong === undefined ? { covers: head.seq } : { wrong }
}

function signatureFault(
  { fields }: SealedLine,
  message: Uint8Array,
  publicKey: KeyObject,
): string | undefined {
  const signer = textOf(objectOf(fields['key'])['spkiSha256'])
  if (signer !== spkiFingerprint(publicKey.export({ format: 'der', type: 'spki' }))) {
    return `it was signed with another key (spkiSha256 ${signer})`
  }
  const scheme = schemes.find(({ name }) => name === fields['scheme'])
  if (scheme === undefined) return 'its signature scheme is unknown'
  const signature = Buffer.from(textOf(fields['signature']), 'base64')
  try {
    if (isSignature(publicKey, scheme, message, signature)) return undefined
  } catch {
    // A scheme that is not the key's.
  }
  return 'its signature does not verify'
}

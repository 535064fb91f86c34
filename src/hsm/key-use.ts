/** What is done with keys, told as it ends: the audit log's source. */

import type { ErrorCode } from '../errors.ts'
import type { ConnectionFacts, SignatureScheme } from '../signing.ts'
import type { WrapDirection } from './frames.ts'

/** What a key may sign; the host keeps it to that (host/key-use-policy.ts). No key has two purposes. */
export type KeyPurpose = 'tls' | 'audit-checkpoint'

export type KeyUse = SignatureUse | LoginUse | WrapUse

/** Told once for every sign request that reached a host, whether or not anybody got the signature. */
export interface SignatureUse {
  readonly kind: 'signature'
  /** handshake: a connection waits for it. test: the pool tries a member out. checkpoint: the audit log's own. */
  readonly reason: 'handshake' | 'test' | 'checkpoint'
  readonly hsm: string
  /** The key's URI as configured. */
  readonly uri: string
  /** DER SubjectPublicKeyInfo; the same object for all uses of a key. */
  readonly spki: Uint8Array
  readonly scheme: SignatureScheme
  /** Unhashed, as it was sent to the host. */
  readonly message: Uint8Array
  /** `ERR_HSM_HOST_EXITED`: whether the HSM made it before its host ended, nobody knows. */
  readonly result: 'ok' | ErrorCode
  /** Somebody got it. Not so: a hedge that came second, an answer after the deadline, a failure. */
  readonly used: boolean
  /** From the request to the answer, the host's queue included. */
  readonly latencyMs: number
  /** 1 for the first request of a signature; higher for retries and hedges. */
  readonly attempt: number
  /** Asked while another member's answer was late. */
  readonly hedge: boolean
  /** undefined for test signatures. */
  readonly connection: ConnectionFacts | undefined
}

/** The fleet's ticket keys were wrapped or unwrapped, or an HSM has failed to. */
export interface WrapUse {
  readonly kind: 'wrap'
  readonly direction: WrapDirection
  readonly hsm: string
  /** The AES key's URI as configured. */
  readonly uri: string
  /** Names and dates of the ticket keys, as they are bound in. */
  readonly header: Uint8Array
  readonly result: 'ok' | ErrorCode
  readonly latencyMs: number
}

/** A host has opened its token with its PIN, or the token has refused it. */
export interface LoginUse {
  readonly kind: 'login'
  readonly hsm: string
  /** undefined when the token was not opened. */
  readonly token: { readonly label: string; readonly serial: string } | undefined
  readonly result: 'ok' | ErrorCode
}

/** What the threads of the addon are to sign, in PKCS#11's words. */

import { inputOf } from '../../hsm/host/operation.ts'
import { MECHANISMS } from '../../hsm/mechanism.ts'
import { testMessage } from '../../hsm/test-message.ts'
import type { SignatureScheme } from '../../signing.ts'
import type { NativeSignWork } from '../native/addon.ts'

/** @param place.key handle of the private key; @param place.slot as the module numbers it. */
export function rawWork(
  place: Pick<NativeSignWork, 'module' | 'slot' | 'key'>,
  scheme: SignatureScheme,
): NativeSignWork {
  const { mechanism, pss } = MECHANISMS[scheme.name]
  // CK_RSA_PKCS_PSS_PARAMS: three CK_ULONG.
  const parameter = pss === undefined ? [] : [pss.hashAlg, pss.mgf, scheme.saltLength ?? 0]
  return {
    ...place,
    mechanism,
    parameter: new Uint8Array(BigUint64Array.from(parameter, BigInt).buffer),
    input: inputOf(scheme, testMessage(scheme)),
  }
}

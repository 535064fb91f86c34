/** The test signatures that decide whether a member is up. */

import type { HsmError } from '../errors.ts'
import type { MemberKeys } from './member-keys.ts'
import type { Attempt } from './sign-job.ts'
import { testMessage } from './test-message.ts'

/** @param onAllEnded called once, after the last one; at once when none is due. */
export function testAttempts(keys: MemberKeys, onAllEnded: () => void): readonly Attempt[] {
  const due = keys.testsDue()
  keys.testsBegin()
  let open = due.length
  const ended = (): void => {
    if (--open === 0) onAllEnded()
  }
  if (open === 0) onAllEnded()
  return due.map(({ key, scheme }) => ({
    key,
    scheme,
    message: testMessage(scheme),
    test: true,
    sentAtMs: 0,
    succeeded: (signature: Uint8Array): boolean => {
      const good = keys.testSigned(key, scheme, signature)
      ended()
      return good
    },
    failed: (error: HsmError): void => {
      keys.testFailed(key, scheme, error)
      ended()
    },
  }))
}

/** The test signatures that decide whether a member is up. */

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
  return due.map(({ key, scheme }) => {
    const attempt: Attempt = {
      key,
      scheme,
      message: testMessage(scheme, keys.purpose(key)),
      test: true,
      sentAtMs: 0,
      succeeded: (signature) => {
        const good = keys.testSigned(key, scheme, signature)
        keys.testEnded(attempt, good ? 'ok' : 'ERR_HSM_BAD_SIGNATURE')
        ended()
        return good
      },
      failed: (error) => {
        keys.testFailed(key, scheme, error)
        keys.testEnded(attempt, error.code)
        ended()
      },
    }
    return attempt
  })
}

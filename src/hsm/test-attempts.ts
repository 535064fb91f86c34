/** The test signatures that decide whether a member is up, and with which of its keys. */

import type { SignatureScheme } from '../signing.ts'
import type { MemberKeys } from './member-keys.ts'
import type { Attempt } from './sign-job.ts'
import { testMessage } from './test-message.ts'

/** @param onAllEnded called once, after the last one; at once when none is due. */
export function testAttempts(keys: MemberKeys, onAllEnded: () => void): readonly Attempt[] {
  const due = keys.testsDue()
  keys.testsBegin()
  let open = due.length
  if (open === 0) onAllEnded()
  return due.map((test) =>
    testAttempt(keys, test, () => {
      if (--open === 0) onAllEnded()
    }),
  )
}

/** @param onEnded called once, with whether the key signs again. @returns undefined for a key that is not set aside. */
export function probeAttempt(
  keys: MemberKeys,
  key: number,
  onEnded: (good: boolean) => void,
): Attempt | undefined {
  const probe = keys.probeOf(key)
  if (probe === undefined) return undefined
  return testAttempt(keys, probe, (good) => {
    if (good) keys.probed(key)
    onEnded(good)
  })
}

function testAttempt(
  keys: MemberKeys,
  { key, scheme }: { readonly key: number; readonly scheme: SignatureScheme },
  onEnded: (good: boolean) => void,
): Attempt {
  const attempt: Attempt = {
    key,
    scheme,
    message: testMessage(scheme, keys.purpose(key)),
    test: true,
    sentAtMs: 0,
    succeeded: (signature) => {
      const good = keys.testSigned(key, scheme, signature)
      keys.testEnded(attempt, good ? 'ok' : 'ERR_HSM_BAD_SIGNATURE')
      onEnded(good)
      return good
    },
    failed: (error) => {
      keys.testFailed(key, scheme, error)
      keys.testEnded(attempt, error.code)
      onEnded(false)
    },
  }
  return attempt
}

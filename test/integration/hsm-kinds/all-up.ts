import type { SigningService } from '../../../src/hsm/signing-service.ts'
import { eventually } from '../../support/signing.ts'

/**
 * Starts a service and waits until every member signs with every key.
 *
 * Not just `start()`: two hosts on one SoftHSM token that log in at the same time can disturb each other, and then one of
 * them needs a second try.
 */
export async function startAll(service: SigningService): Promise<void> {
  await service.start()
  const isUp = () =>
    service.status().every(({ state, keys }) => state === 'up' && keys.every(({ ready }) => ready))
  await eventually(isUp, 'every member is up with every key')
}

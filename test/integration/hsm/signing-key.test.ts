/** The contract of the seam, on everything that implements it. */

import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe } from 'vitest'

import type { SigningService } from '../../../src/hsm/signing-service.ts'
import { MemoryKey } from '../../support/memory-key.ts'
import { Faults } from '../../support/p11-faults.ts'
import { testService } from '../../support/signing.ts'
import { SoftHsm, type SoftToken, type TokenKeyType } from '../../support/softhsm.ts'
import { signingKeyContract } from './signing-key-contract.ts'

const KEYS: readonly { label: string; id: string; type: TokenKeyType }[] = [
  { label: 'p256', id: '01', type: 'EC:prime256v1' },
  { label: 'p384', id: '02', type: 'EC:secp384r1' },
  { label: 'p521', id: '03', type: 'EC:secp521r1' },
  { label: 'ed25519', id: '04', type: 'EC:edwards25519' },
  { label: 'rsa', id: '05', type: 'rsa:2048' },
]

describe('a key in memory', () => {
  const encoding = { type: 'pkcs8', format: 'pem' } as const
  const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
  const pems = [
    generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: encoding, publicKeyEncoding }),
    generateKeyPairSync('ed25519', { privateKeyEncoding: encoding, publicKeyEncoding }),
    generateKeyPairSync('rsa', { modulusLength: 2048, privateKeyEncoding: encoding, publicKeyEncoding }),
  ]
  const keys = pems.map(({ privateKey }) => new MemoryKey(privateKey))

  signingKeyContract(() => keys)
})

describe('keys in SoftHSM', () => {
  const hsm = new SoftHsm()
  let service: SigningService

  beforeAll(async () => {
    const token = hsm.addToken('web')
    const keys = generate(token)
    service = testService({ hsms: [token.hsmOptions()], keys, signing: { verify: 'always' } }).service
    const problems = await service.start()
    if (problems.length > 0) throw new AggregateError(problems, problems.map(String).join())
  })
  afterAll(async () => {
    await service.close()
    hsm.remove()
  })

  signingKeyContract(() => KEYS.map((_, index) => service.key(index)))
})

describe('keys in SoftHSM when one of two members fails every signature', () => {
  const hsm = new SoftHsm()
  let service: SigningService

  beforeAll(async () => {
    const token = hsm.addToken('web')
    const faults = new Faults(hsm, 'hsm-b')
    const members = [token.hsmOptions(), token.hsmOptions({ name: 'hsm-b', ...faults.options })]
    service = testService({ hsms: members, keys: generate(token) }).service
    const problems = await service.start()
    if (problems.length > 0) throw new AggregateError(problems, problems.map(String).join())
    faults.set('C_Sign rv CKR_DEVICE_ERROR')
  })
  afterAll(async () => {
    await service.close()
    hsm.remove()
  })

  signingKeyContract(() => KEYS.map((_, index) => service.key(index)))
})

function generate(token: SoftToken): { label: string; spki: Uint8Array }[] {
  return KEYS.map((key) => ({ label: key.label, spki: token.generateKey(key) }))
}

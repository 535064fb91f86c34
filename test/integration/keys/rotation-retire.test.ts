/** The last step of a rotation, in a real token: which key it destroys. Needs `dist/`. */

import { expect, test } from 'vitest'
import type { KeyInventory, KeyUse } from '../../../src/config/key-inventory.ts'
import { readToken } from '../../../src/keys/jobs.ts'
import { Journal } from '../../../src/keys/journal.ts'
import type { TokenKey } from '../../../src/keys/key-facts.ts'
import { retire } from '../../../src/keys/rotation-retire.ts'
import type { Rotation } from '../../../src/keys/rotation-state.ts'
import type { Next } from '../../../src/keys/rotation-work.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

test.each([
  ['rsa-2048', 'p-256'],
  ['p-256', 'rsa-2048'],
])('of two keys of one name the old %s key goes, and the %s key stays', async (type, other) => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('web')
  for (const each of ['rsa:2048', 'EC:prime256v1']) generate(token, each)
  const { keys } = await readToken(token.hsmOptions())
  const old = keys.find((key) => key.type === type)
  expect(old?.spki).toBeTruthy()

  await retired(token, old)

  expect((await readToken(token.hsmOptions())).keys.map((key) => key.type)).toEqual([other])
  // Taken again, as after an interruption: the one that has its name by now is not it.
  await retired(token, old)
  expect((await readToken(token.hsmOptions())).keys.map((key) => key.type)).toEqual([other])
})

test('a key stays while a certificate is for it, whatever URI stands beside that', async () => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('web')
  generate(token, 'EC:prime256v1')
  const [old] = (await readToken(token.hsmOptions())).keys
  const certificate = {
    file: 'b.pem',
    chain: [],
    spki: Buffer.from(old?.spki ?? '', 'base64'),
    names: [],
    keyType: 'ec' as const,
    notAfterMs: 0,
  }
  // As when the edit of another certificate has changed it.
  const key = { label: 'new', id: undefined, uri: 'pkcs11:object=new;type=private', hsms: ['hsm-a'] }
  const use = { place: 'certificates[1]', path: [], key, chain: 'b.pem', certificate }

  await expect(retired(token, old, [use])).rejects.toMatchObject({
    code: 'ERR_KEYS_IN_USE',
    message: expect.stringContaining('certificates[1]'),
  })

  // Nor does the token have to show the public half.
  token.deletePublicKey('www')
  await expect(retired(token, old, [use])).rejects.toMatchObject({ code: 'ERR_KEYS_IN_USE' })
  expect((await readToken(token.hsmOptions())).keys).toHaveLength(1)
})

function generate(token: SoftToken, type: string): void {
  token.tool([
    ...['--login', '--pin', token.pin, '--keypairgen', '--key-type', type],
    ...['--label', 'www', '--id', '01'],
  ])
}

async function retired(
  token: SoftToken,
  old: TokenKey | undefined,
  uses: readonly KeyUse[] = [],
): Promise<Next> {
  if (old === undefined) throw new Error('the token does not show the old key')
  const hsm = token.hsmOptions()
  const inventory: KeyInventory = {
    file: 'sealgate.yaml',
    text: '',
    hsms: [hsm],
    uses,
    admin: undefined,
    audit: undefined,
  }
  const rotation: Rotation = {
    version: 1,
    step: 'in-force',
    config: inventory.file,
    place: 'certificates[0]',
    hsms: [hsm.name],
    old: { key: old, uri: 'pkcs11:object=www;type=private', chain: 'www.pem' },
    new: {
      key: { label: 'new', id: '02', type: 'p-256', spki: null },
      uri: 'pkcs11:object=new;type=private',
      csr: 'new.csr',
      chain: 'new.pem',
    },
    subject: [],
    names: [],
    overlapMs: 0,
    begunAt: YESTERYEAR,
    switchedAt: YESTERYEAR,
    retireAfter: YESTERYEAR,
  }
  const journal = await Journal.open({ audit: undefined, hsms: [hsm], config: undefined, command: {} })
  return retire(rotation, {
    inventory,
    journal,
    file: '',
    input: {
      chain: undefined,
      fewerNames: false,
      print: false,
      pid: undefined,
      inForce: true,
      retire: 'destroy',
      early: false,
      confirm: async () => {},
    },
    say: () => {},
  })
}

const YESTERYEAR = '2020-01-01T00:00:00.000Z'

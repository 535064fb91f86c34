/** The table of modules: complete rows, no two alike, and the right one for what modules call themselves. */

import { expect, test } from 'vitest'

import { MODULE_KINDS, moduleKind } from '../../../src/doctor/quirk-table.ts'

const quirks = MODULE_KINDS.flatMap((kind) => kind.quirks.map((quirk) => ({ kind, quirk })))

test('ids are unique', () => {
  const ids = [...MODULE_KINDS.map(({ id }) => id), ...quirks.map(({ quirk }) => quirk.id)]

  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([])
})

test.each(quirks)('$quirk.id says what it is, what that means, what to do and who says so', ({ quirk }) => {
  for (const text of [quirk.fact, quirk.consequence, quirk.cure, quirk.source]) {
    expect(text.length).toBeGreaterThan(5)
    // They are put into sentences.
    expect(text).not.toMatch(/[.;\s]$/)
  }
  expect(quirk.id).toMatch(/^[a-z0-9-]+\.[a-z0-9-]+$/)
})

test.each(MODULE_KINDS)('$name says what its module must be told', ({ environment, quirks }) => {
  expect(environment.length).toBeGreaterThan(20)
  expect(quirks.length).toBeGreaterThan(0)
})

test.each([
  ['SoftHSM / Implementation of PKCS11', '/usr/lib/softhsm/libsofthsm2.so', 'softhsm'],
  ['SoftHSM / Implementation of PKCS11', '/etc/sealgate/drill.so', 'softhsm'],
  ['SoftHSM / Implementation of PKCS11', '/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so', 'p11-kit'],
  ['Mozilla Foundation / NSS Internal Crypto Services', '/usr/lib/libsoftokn3.so', 'nss'],
  ['Cavium Networks / Cavium PKCS#11 Interface', '/x/vendor.so', 'cloudhsm-3'],
  [undefined, '/opt/cloudhsm/lib/libcloudhsm_pkcs11.so', 'cloudhsm-5'],
  [undefined, '/opt/cloudhsm/lib/libcloudhsm_pkcs11_standard.so', 'cloudhsm-3'],
  ['SafeNet / Chrystoki', '/usr/safenet/lunaclient/lib/libCryptoki2_64.so', 'luna'],
  ['nCipher Corp. Ltd / nCipher PKCS#11 12.60', '/opt/nfast/toolkits/pkcs11/libcknfast.so', 'nshield'],
  ['Yubico (www.yubico.com) / YubiHSM PKCS#11 Library', '/usr/lib/pkcs11/yubihsm_pkcs11.so', 'yubihsm'],
  ['Yubico (www.yubico.com) / PKCS#11 PIV Library (SP-800-73)', '/x/vendor.so', 'yubikey'],
  ['Nitrokey / Nitrokey NetHSM PKCS#11 library', '/x/vendor.so', 'nethsm'],
  ['IBM / openCryptoki', '/x/vendor.so', 'opencryptoki'],
  ['tpm2-software.github.io / TPM2.0 Cryptoki', '/usr/lib/pkcs11/libtpm2_pkcs11.so', 'tpm2'],
  ['OpenSC Project / OpenSC smartcard framework', '/usr/lib/opensc-pkcs11.so', 'opensc'],
  ['Somebody / Something', '/x/vendor.so', undefined],
])('%s in %s is %s', (library, path, id) => {
  expect(moduleKind(library, path)?.id).toBe(id)
})

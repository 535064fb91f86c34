/** What the dynamic linkers of glibc and musl say, and what that means. */

import { expect, test } from 'vitest'

import { explainLoadFailure } from '../../../src/doctor/module-file.ts'

test.each([
  [
    'libvendor.so.3: cannot open shared object file: No such file or directory',
    /the library libvendor\.so\.3, which it needs, is not found/,
    /install the package that has libvendor\.so\.3/,
  ],
  [
    'Error loading shared library libvendor.so.3: No such file or directory (needed by /x/module.so)',
    /the library libvendor\.so\.3, which it needs, is not found/,
    /ldd \/x\/module\.so/,
  ],
  [
    "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /x/module.so)",
    /built for a newer system: GLIBC_2\.38/,
    /this distribution/,
  ],
  ['/x/module.so: undefined symbol: C_GetFunctionList', /no PKCS#11 module/, /manual/],
  ['/x/module.so: undefined symbol: EVP_MD_CTX_new', /in another version: it lacks EVP_MD_CTX_new/, /ldd/],
])('%s', (message, what, cure) => {
  expect(explainLoadFailure('/x/module.so', message)).toMatchObject({
    what: expect.stringMatching(what),
    cure: expect.stringMatching(cure),
  })
})

test('the module itself that is not found is no library that it needs', () => {
  const message = '/x/module.so: cannot open shared object file: No such file or directory'

  expect(explainLoadFailure('/x/module.so', message)).toBeUndefined()
})

/** The journal around work in a real token whose checkpoint key lives in that same token, as is usual. Needs `dist/`. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { AuditOptions } from '../../../src/audit/options.ts'
import type { HsmOptions } from '../../../src/hsm/options.ts'
import { generateInCluster, onFirst } from '../../../src/keys/cluster.ts'
import { type KeyOnToken, signX509 } from '../../../src/keys/jobs.ts'
import { withJournal } from '../../../src/keys/journal.ts'
import { Faults } from '../../support/p11-faults.ts'
import { SoftHsm } from '../../support/softhsm.ts'

const GENERATE = (hsm: HsmOptions): Promise<KeyOnToken> =>
  generateInCluster([hsm], { type: 'p-256', label: 'www', id: '01' })
const SIGN = (hsm: HsmOptions): Promise<KeyOnToken> => {
  const key = { label: 'audit', id: null, spki: null }
  return onFirst([hsm], () => signX509(hsm, { key, subject: [], names: [], validity: null }))
}

test.each([
  ['generating', GENERATE],
  ['signing', SIGN],
])('a PIN that was refused while %s is not tried again to sign the record of it', async (_, work) => {
  using softHsm = new SoftHsm()
  const { hsm, faults, audit, pinFile } = site(softHsm)
  const wrong = join(softHsm.directory, 'wrong.pin')
  writeFileSync(wrong, '00000000\n')

  const refused = run({ ...hsm, pin: { file: wrong } }, audit, work)

  await expect(refused).rejects.toMatchObject({ code: 'ERR_HSM_PIN' })
  expect(faults.calls('C_Login')).toBe(1)
  expect(records(audit)).toEqual(['start', 'key ERR_HSM_PIN', 'stop'])
  // The next command's checkpoint covers these records as well.
  const { unsigned } = await run({ ...hsm, pin: { file: pinFile } }, audit, work)
  expect(unsigned).toBeUndefined()
  expect(records(audit).slice(3)).toEqual(['start', 'key ok', 'stop', 'checkpoint'])
})

test('what failed for another reason is signed at once', async () => {
  using softHsm = new SoftHsm()
  const { hsm, audit } = site(softHsm)

  const failed = run(hsm, audit, () =>
    onFirst([hsm], () =>
      signX509(hsm, {
        key: { label: 'nothing', id: null, spki: null },
        subject: [],
        names: [],
        validity: null,
      }),
    ),
  )

  await expect(failed).rejects.toMatchObject({ code: 'ERR_HSM_KEY_NOT_FOUND' })
  expect(records(audit)).toEqual(['start', 'key ERR_HSM_KEY_NOT_FOUND', 'stop', 'checkpoint'])
})

function site(softHsm: SoftHsm): {
  readonly hsm: HsmOptions
  readonly faults: Faults
  readonly audit: AuditOptions
  readonly pinFile: string
} {
  const token = softHsm.addToken('web')
  const spki = token.generateKey({ label: 'audit', id: 'aa', type: 'EC:prime256v1' })
  const faults = new Faults(softHsm, 'hsm-a')
  const audit: AuditOptions = {
    file: join(softHsm.directory, 'audit.jsonl'),
    rotateBytes: 1_000_000,
    keep: undefined,
    fsync: 'always',
    overflow: 'block',
    bufferBytes: 65_536,
    checkpoint: {
      key: { label: 'audit', id: undefined, uri: 'pkcs11:object=audit;type=private', hsms: ['hsm-a'] },
      spki,
      everyMs: 60_000,
      everyRecords: 1000,
    },
  }
  return { hsm: token.hsmOptions(faults.options), faults, audit, pinFile: token.pinFile }
}

function run(
  hsm: HsmOptions,
  audit: AuditOptions,
  work: (hsm: HsmOptions) => Promise<KeyOnToken>,
): Promise<{ readonly unsigned: string | undefined }> {
  return withJournal({ audit, hsms: [hsm], config: undefined, command: {} }, (journal) =>
    journal.around('test', {}, () => work(hsm)),
  )
}

/** What is in the journal, and how it ended. */
function records({ file }: AuditOptions): readonly string[] {
  const lines = readFileSync(file.replace('audit.jsonl', 'keys-audit.jsonl'), 'utf8').trimEnd().split('\n')
  return lines.map((line) => {
    const { type, result } = JSON.parse(line)
    return result === undefined ? type : `${type} ${result}`
  })
}

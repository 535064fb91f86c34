import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FileStore } from '../../../src/tickets/file-store.ts'

test('what one user writes all others can read, under any umask: it is ciphertext', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sealgate-tickets-'))
  const file = join(folder, 'ticket-keys')
  const umask = process.umask(0o077)
  try {
    expect(await new FileStore(file).replace(undefined, 'text')).toBe(true)
    expect(statSync(file).mode & 0o777).toBe(0o644)
  } finally {
    process.umask(umask)
    rmSync(folder, { recursive: true })
  }
})

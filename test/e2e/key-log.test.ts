/** Secrets of connections leave the process only when `run` is told so in so many words. */

import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { PATIENCE } from '../support/patience.ts'
import { sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { sClient } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((_request, response) => response.end())
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('SSLKEYLOGFILE is not heeded, and that is said', async () => {
  const file = join(site.directory, 'from-environment')
  const env = { ...process.env, SSLKEYLOGFILE: file }
  const sealgate = await startSealgate({ config: site.config([upstream.port]), env })

  const { stdout } = await sClient(sealgate.port(), ['-CAfile', site.ca])
  await sealgate.finish()

  expect(stdout).toContain('Verification: OK')
  expect(existsSync(file)).toBe(false)
  expect(sealgate.lines).toContainEqual(
    expect.objectContaining({
      level: 'warn',
      msg: expect.stringMatching(/^SSLKEYLOGFILE is ignored/),
    }),
  )
})

test.each(['-tls1_2', '-tls1_3'])(
  'run --unsafe-key-log writes what decrypts the connection (%s), for its owner only, after a warning',
  async (version) => {
    const ours = join(site.directory, `ours${version}`)
    const theirs = join(site.directory, `theirs${version}`)
    const args = ['--unsafe-key-log', ours]
    const sealgate = await startSealgate({ config: site.config([upstream.port]), args })

    await sClient(sealgate.port(), [version, '-keylogfile', theirs])

    // The client's own record of the same secrets, whatever order they were derived in.
    const expected = secrets(theirs)
    expect(expected.length).toBeGreaterThan(0)
    await vi.waitFor(() => expect(secrets(ours)).toEqual(expect.arrayContaining(expected)), PATIENCE)
    expect(statSync(ours).mode & 0o777).toBe(0o600)
    expect(sealgate.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', msg: expect.stringMatching(/^UNSAFE: /), file: ours }),
    )
    await sealgate.finish()
  },
)

test('a key log that cannot be written is refused before anything starts', async () => {
  const config = join(site.directory, 'unused.yaml')
  const { status, stderr } = await sealgateCommand(['run', '--config', config, '--unsafe-key-log'])

  expect(status).toBe(64)
  expect(stderr).toMatch(/argument missing/)
})

function secrets(file: string): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .toSorted()
}

/**
 * Every file of config/ starts with the token that `npm start` makes, serves on all of its listeners, and stops. Only
 * the ports are others: those of the examples may be taken on a machine that runs tests.
 */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { type Listener, type Sealgate, sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { curl, runTool, sClient } from '../support/tools.ts'

const EXAMPLES = readdirSync(join(checkout, 'config')).filter((file) => file.endsWith('.yaml'))

let directory: string
let ca: string
let upstream: TestUpstream

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-examples-'))
  mkdirSync(join(directory, 'config'))
  ca = join(directory, '.sealgate/certs/ca.pem')
  upstream = await startUpstream((_request, response) => response.end('served'))
  const setup = [join(checkout, 'dev/setup.mjs'), '--hsm-only', '--state', join(directory, '.sealgate')]
  expect(await runTool(nodeUnderTest, setup)).toMatchObject({ status: 0 })
})

afterAll(async () => {
  await upstream?.[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
})

test('there are examples', () => {
  expect(EXAMPLES).toContain('quickstart.yaml')
})

test.each(EXAMPLES)('config/%s passes `check`, serves on all of its listeners, and stops', async (file) => {
  const config = withFreePorts(readFileSync(join(checkout, 'config', file), 'utf8'))
  await using sealgate = await startSealgate({ config, directory: join(directory, 'config') })

  // Beside the running proxy: it looks at files and HSMs, not at ports.
  const check = await sealgateCommand(['check', '--config', join(directory, 'config/sealgate.yaml')])
  expect(check, check.stdout).toMatchObject({ status: 0, stderr: '' })
  expect(check.stdout).toMatch(/^ok +hsm-a +signs$/m)
  for (const listener of sealgate.listeners)
    expect(await answer(sealgate, listener, config)).toContain('served')

  expect(sealgate.listeners.length).toBeGreaterThan(0)
  await sealgate.stop()
  expect(await sealgate.ended).toEqual({ status: 0, signal: null })
  expect(sealgate.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
})

/** What a client of that listener gets. */
async function answer(
  sealgate: Sealgate,
  { name, protocol, port }: Listener,
  config: string,
): Promise<string> {
  switch (protocol) {
    case 'http':
      return (await curl('--cacert', ca, sealgate.url('/', name))).stdout
    case 'redirect':
      return (await curl('--location', '--cacert', ca, `http://localhost:${port}/`)).stdout
    default: {
      const alpn = new RegExp(`name: ${name},.*alpn: \\[(\\w+)\\]`).exec(config)?.[1]
      const args = ['-CAfile', ca, '-servername', 'localhost', ...(alpn === undefined ? [] : ['-alpn', alpn])]
      return (await sClient(port, args)).stdout
    }
  }
}

function withFreePorts(text: string): string {
  const admin = /^admin:/m.test(text) ? '' : 'admin: { address: "127.0.0.1:0" }\n'
  return `${text
    .replace(/address: "127\.0\.0\.1:\d+"/g, 'address: "127.0.0.1:0"')
    .replace(/(http|tcp):\/\/127\.0\.0\.1:\d+/g, `$1://127.0.0.1:${upstream.port}`)}\n${admin}`
}

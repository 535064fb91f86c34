/**
 * What a new user does: `npm start`, paste the curl line, look at the metrics, press Ctrl-C, start again.
 *
 * The set-up is the real one, with a token of its own in a temporary folder. npm packages and build are there
 * already: whoever runs this test has them.
 */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkout, type NpmStart, npmStart, npmStartToEnd } from '../support/npm-start.ts'
import { descendants, untilEnded } from '../support/process-tree.ts'

const run = promisify(execFile)
const BUILD_MS = 300_000
const SECOND_START_MS = 20_000
const END_MS = 5_000

let state: string
let started: NpmStart

beforeAll(async () => {
  state = mkdtempSync(join(tmpdir(), 'sealgate-quickstart-'))
  started = await npmStart({ state })
}, BUILD_MS)

afterAll(async () => {
  await started?.stop()
  rmSync(state, { recursive: true, force: true })
})

test('the printed curl line, pasted into a shell, shows the demo page', async () => {
  const { stdout } = await run('sh', ['-c', `${started.curl} --silent --show-error --fail`], {
    cwd: checkout,
  })

  expect(stdout).toContain('the handshake was signed inside the HSM')
  expect(stdout).toMatch(/^x-forwarded-proto: https$/im)
})

test('the demo outlives a path that is no URL by itself', async () => {
  const twoSlashes = `${started.curl}/ --path-as-is --silent --output /dev/null --write-out '%{http_code}'`
  const { stdout: status } = await run('sh', ['-c', twoSlashes], { cwd: checkout })
  const { stdout: page } = await run('sh', ['-c', `${started.curl} --silent --fail`], { cwd: checkout })

  expect(status).toBe('404')
  expect(page).toContain('the handshake was signed inside the HSM')
})

test('both certificates are served, each with a signature of its own HSM key', async () => {
  const port = new URL(started.url).port
  const served = async (sigalgs: string) => {
    const { stdout } = await run('sh', [
      '-c',
      `openssl s_client -connect 127.0.0.1:${port} -servername localhost -CAfile ${state}/certs/ca.pem \
         -verify_return_error -sigalgs ${sigalgs} </dev/null 2>&1`,
    ])
    return stdout
  }

  expect(await served('ECDSA+SHA256')).toContain('Peer signature type: ECDSA')
  expect(await served('RSA-PSS+SHA256')).toContain('Peer signature type: RSA-PSS')
})

test('the metrics are where it says and count the signatures', async () => {
  await run('sh', ['-c', `${started.curl} --silent --output /dev/null`], { cwd: checkout })
  const metrics = await (await fetch(started.metrics)).text()

  const signed = [...metrics.matchAll(/^sealgate_signatures_total\{.*result="ok".*\} (\d+)$/gm)]
  expect(signed.reduce((sum, [, count]) => sum + Number(count), 0)).toBeGreaterThan(0)
})

test('TERM ends the proxy and its HSM hosts, and a second start takes seconds and keeps the keys', async () => {
  const certificate = readFileSync(join(state, 'certs/localhost.ecdsa.pem'))
  const processes = descendants(started.pid)
  expect(processes.length).toBeGreaterThanOrEqual(3) // the proxy and two HSM hosts

  expect(await started.stop()).toBe(0)
  await untilEnded(processes, END_MS)
  started = await npmStart({ state })

  expect(started.readyAfterMs).toBeLessThan(SECOND_START_MS)
  expect(readFileSync(join(state, 'certs/localhost.ecdsa.pem'))).toEqual(certificate)
})

test('with --upstream it stands in front of that application', async () => {
  const app = createServer((request, response) => response.end(`mine, asked for ${request.headers.host}`))
  app.listen(0, '127.0.0.1')
  await once(app, 'listening')
  const address = app.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const upstream = ['--upstream', `http://127.0.0.1:${port}`]
  await using mine = await npmStart({ state, args: ['--port', '0', '--admin-port', '0', ...upstream] })

  const { stdout } = await run('sh', ['-c', `${mine.curl} --silent --show-error --fail`], { cwd: checkout })

  expect(stdout).toBe(`mine, asked for localhost:${new URL(mine.url).port}`)
  app.close()
}, 60_000)

test('two that start at the same time get a proxy each', async () => {
  const both = await Promise.all([npmStart({ state }), npmStart({ state })])
  try {
    for (const { curl } of both) {
      const { stdout } = await run('sh', ['-c', `${curl} --silent --show-error --fail`], { cwd: checkout })
      expect(stdout).toContain('the handshake was signed inside the HSM')
    }
    expect(new Set(both.flatMap(({ url, metrics }) => [url, metrics])).size).toBe(4)
  } finally {
    await Promise.all(both.map((one) => one.stop()))
  }
}, 60_000)

test('a port in use is named, with another one to choose', async () => {
  const holder = createTcpServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  const address = holder.address()
  const port = typeof address === 'object' ? address?.port : undefined

  const { status, output } = await npmStartToEnd(['--port', String(port)])

  expect(status).toBe(69)
  expect(output).toMatch(new RegExp(`^Port ${port} is in use.*npm start -- --port \\d+$`, 'm'))
  holder.close()
})

test.each([
  ['--prot', '8443'],
  ['--port', 'https'],
  ['--upstream', 'localhost:3000'],
  ['--upstream', 'http://me:secret@127.0.0.1:3000'],
  ['--state', ''],
])('%s %s is refused as a usage error, with no stack trace', async (...args) => {
  const { status, output } = await npmStartToEnd(args)

  expect(status).toBe(64)
  expect(output).toContain('Try: npm start -- --help')
  expect(output).not.toMatch(/^\s+at /m)
})

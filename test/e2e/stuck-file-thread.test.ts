/**
 * A file that never answers, as on a server of files that is gone, has one of Node's file threads for good, and Node waits for
 * that thread at its end. A stop ends all the same, with its status.
 */

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream } from '../integration/proxy/support/upstreams.ts'
import { sealgateCommand, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

let site: Site
let env: NodeJS.ProcessEnv

beforeAll(() => {
  site = new Site()
  // Whoever opens it waits for somebody who writes.
  const fifo = join(site.directory, 'nobody-writes')
  execFileSync('mkfifo', [fifo])
  const stick = `
    import { open } from 'node:fs/promises'
    import { isMainThread } from 'node:worker_threads'
    if (isMainThread && process.argv[1]?.endsWith('/cli/main.js')) open(${JSON.stringify(fifo)})`
  env = { ...process.env, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(stick)}` }
})

afterAll(() => site?.[Symbol.dispose]())

test('TERM drains, and the process ends with 0', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('served'))
  await using sealgate = await startSealgate({ config: site.config([upstream.port]), env })
  expect((await curl('--cacert', site.ca, sealgate.url())).stdout).toBe('served')

  expect(await sealgate.stop()).toEqual({ status: 0, signal: null })

  expect(sealgate.lines.at(-1)).toMatchObject({ msg: 'stopped' })
})

test('a second TERM ends it with the status a shell shows for it', async () => {
  await using upstream = await startUpstream((_request, response) => void response.write('endless'))
  await using sealgate = await startSealgate({ config: site.config([upstream.port]), env })
  const endless = curl('--cacert', site.ca, sealgate.url())
  await expect.poll(() => upstream.requests.length).toBe(1)

  sealgate.signal('SIGTERM')
  await sealgate.logged('draining')

  expect(await sealgate.stop()).toEqual({ status: 128 + 15, signal: null })
  await endless
})

test('a command has its status too', async () => {
  expect(await sealgateCommand(['check', '--config', '/nowhere.yaml'], env)).toMatchObject({
    status: 78,
    stderr: expect.stringContaining('/nowhere.yaml'),
  })
})

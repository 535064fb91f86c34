/** An HTTP worker that crashes while clients come: it costs its own connections, and not the process. */

import { readFileSync } from 'node:fs'
import { get } from 'node:https'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream } from '../integration/proxy/support/upstreams.ts'
import { startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'

const CRASHES = 6
const CLIENTS = 24
const PRELOADED = new URL('../support/crashing-thread.mjs', import.meta.url)

let site: Site

beforeAll(() => {
  site = new Site()
})

afterAll(() => site?.[Symbol.dispose]())

test('workers that crash with connections on their way to them are replaced', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('served'))
  await using sealgate = await startSealgate({
    config: site.config([upstream.port], { threads: { http: 2 } }),
    env: { ...process.env, NODE_OPTIONS: `--import=${PRELOADED}` },
  })
  const crashed = (): number => sealgate.lines.filter(({ msg }) => msg === 'an HTTP worker crashed').length
  const ca = readFileSync(site.ca)
  let served = 0
  const client = async (): Promise<void> => {
    while (crashed() < CRASHES && !ended) if (await isServed(sealgate.port(), ca)) served += 1
  }
  let ended = false
  void sealgate.ended.then(() => {
    ended = true
  })

  await Promise.all(Array.from({ length: CLIENTS }, client))

  expect(sealgate.stderr).toBe('')
  expect(ended).toBe(false)
  expect(served).toBeGreaterThan(CRASHES)
  expect((await sealgate.admin('/healthz'))?.status).toBe(200)
})

/** On a connection of its own. */
function isServed(port: number, ca: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ port, host: 'localhost', ca, agent: false }, (response) => {
      response
        .resume()
        .on('end', () => resolve(true))
        .on('error', () => resolve(false))
    })
    request.on('error', () => setTimeout(() => resolve(false), 10))
  })
}

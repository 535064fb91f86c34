/** The plain listener serves nothing; it says where https is, and keeps method, body and path of what was asked. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type TestUpstream } from '../integration/proxy/support/upstreams.ts'
import { type Sealgate, startSealgate } from '../support/sealgate.ts'
import { Site } from '../support/site.ts'
import { curl } from '../support/tools.ts'

let site: Site
let upstream: TestUpstream
let sealgate: Sealgate

beforeAll(async () => {
  site = new Site()
  upstream = await startUpstream((request, response) => request.pipe(response))
  const address = '127.0.0.1:0'
  const listeners = [
    { name: 'web', protocol: 'http', address, upstream: 'app' },
    { name: 'plain', protocol: 'redirect', address },
  ]
  sealgate = await startSealgate({ config: site.config([upstream.port], { listeners }) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

test('every request is answered with 308 and the same path on the https port', async () => {
  const shown = ['--write-out', '%{http_code} %{redirect_url}']

  const reply = await curl(...shown, `http://localhost:${sealgate.port('plain')}/a/b?c=d`)

  expect(reply.stdout).toBe(`308 ${sealgate.url('/a/b?c=d')}`)
  expect(upstream.requests).toHaveLength(0)
})

test('a client that follows arrives at the upstream with its method and body', async () => {
  const data = ['--location', '--cacert', site.ca, '--data', 'an order']

  const reply = await curl(...data, `http://localhost:${sealgate.port('plain')}/orders`)

  expect(reply).toMatchObject({ status: 0, stdout: 'an order' })
  expect(upstream.requests[0]).toMatchObject({ method: 'POST', url: '/orders' })
})

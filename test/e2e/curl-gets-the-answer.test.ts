/**
 * curl asks over HTTP/1.1 and HTTP/2 and gets what the upstream says; the upstream gets what curl said, and who
 * asked. The certificate is verified against the CA that issued it, the signature is made in the token.
 */

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
  upstream = await startUpstream((request, response) => {
    request.pipe(response.setHeader('x-upstream', 'yes'))
  })
  sealgate = await startSealgate({ config: site.config([upstream.port]) })
})

afterAll(async () => {
  await sealgate?.finish()
  await upstream?.[Symbol.asyncDispose]()
  site?.[Symbol.dispose]()
})

for (const [option, version] of [
  ['--http1.1', '1.1'],
  ['--http2', '2'],
] as const) {
  test(`curl ${option} gets the upstream's answer to what it sent`, async () => {
    const body = ['--data', 'an order', '--header', 'X-Order: 7', '--header', 'X-Forwarded-For: 192.0.2.1']
    const shown = ['--write-out', '|%{http_version}|%{http_code}|%{ssl_verify_result}|%header{x-upstream}']

    const reply = await curl(option, '--cacert', site.ca, ...body, ...shown, sealgate.url('/orders?new'))

    expect(reply).toMatchObject({ status: 0, stdout: `an order|${version}|200|0|yes` })
    const request = upstream.requests.at(-1)
    expect(request).toMatchObject({ method: 'POST', url: '/orders?new' })
    expect(request?.headers).toMatchObject({
      host: `localhost:${sealgate.port()}`,
      'x-order': '7',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': `localhost:${sealgate.port()}`,
    })
  })
}

/** The plain-HTTP listener: says "use https" to a sane request, nothing to any other. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { startRedirect } from '../../../src/proxy/redirect.ts'
import { curl } from './support/clients.ts'

const log = pino({ enabled: false })
const ANY_PORT = { host: '127.0.0.1', port: 0 }

test('host, path and query are kept, the port is not', async () => {
  const redirect = await startRedirect({ address: ANY_PORT, log })

  const reply = await curl('-i', '-H', 'Host: example.com:80', `http://127.0.0.1:${redirect.port}/a?b=c`)

  expect(reply.stdout).toMatch(/^HTTP\/1\.1 308 /)
  expect(reply.stdout).toContain('location: https://example.com/a?b=c\r\n')
  await redirect.close()
})

test('another https port is named', async () => {
  const redirect = await startRedirect({ address: ANY_PORT, log, httpsPort: 8443 })

  const reply = await curl('-i', '-H', 'Host: [::1]', '-d', 'body', `http://127.0.0.1:${redirect.port}/`)

  expect(reply.stdout).toContain('location: https://[::1]:8443/\r\n')
  await redirect.close()
})

test('a Host that is none is not repeated', async () => {
  const redirect = await startRedirect({ address: ANY_PORT, log })

  const reply = await curl('-i', '-H', 'Host: evil.com/@example.com', `http://127.0.0.1:${redirect.port}/`)

  expect(reply.stdout).toMatch(/^HTTP\/1\.1 400 /)
  expect(reply.stdout).not.toContain('evil')
  await redirect.close()
})

test('a port in use is an error that names it', async () => {
  const first = await startRedirect({ address: ANY_PORT, log })

  const second = startRedirect({ address: { host: '127.0.0.1', port: first.port }, log })

  await expect(second).rejects.toMatchObject({ code: 'ERR_TLS_LISTEN' })
  await expect(second).rejects.toThrow(String(first.port))
  await Promise.all([first.close(), first.close()])
})

test.each(['', 'GET / HTTP/1.1\r\nHost: a'])(
  'who has connected and sent %j does not keep it open',
  async (bytes) => {
    const redirect = await startRedirect({ address: ANY_PORT, log })
    const client = connect(redirect.port, '127.0.0.1').on('error', () => {})
    await once(client, 'connect')
    client.write(bytes)
    // Accepted by now: this came later, and is answered.
    await curl('-i', '-H', 'Host: a', `http://127.0.0.1:${redirect.port}/`)

    await Promise.all([redirect.close(), once(client, 'close')])
  },
)

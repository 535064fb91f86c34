import { once } from 'node:events'
import { createServer } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { hsmShare, readSignTotals } from '../../../src/bench/handshake/scrape.ts'
import { parseTarget, targetText } from '../../../src/bench/handshake/target.ts'

const servers: ReturnType<typeof createServer>[] = []

afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve))
})

test.each([
  ['https://example.com', 'example.com:443'],
  ['https://example.com:8443/path', 'example.com:8443'],
  ['127.0.0.1:8443', '127.0.0.1:8443'],
  ['[::1]:8443', '[::1]:8443'],
  ['localhost', 'localhost:443'],
])('%s is %s', (text, target) => {
  expect(targetText(parseTarget(text))).toBe(target)
})

test.each([
  ['http://example.com', 'is without TLS'],
  ['ftp://example.com', 'is not TLS (ftp)'],
  ['https://', 'is no URL'],
  ['example.com:99999', 'is no URL'],
  ['example.com:0', 'has port 0'],
])('%s is refused: %s', (text, message) => {
  expect(() => parseTarget(text)).toThrow(message)
})

test('the share of the HSM is the difference of two readings, over all HSMs and schemes', async () => {
  const admin = await serve([page(10, 0.02, 0.001, 1), page(110, 0.12, 0.011, 3)])

  const before = await readSignTotals(admin)
  const after = await readSignTotals(admin)

  // Two HSMs: 200 signatures more in 0.2 s, and 0.02 s of waiting for as many.
  expect(hsmShare(before, after)).toEqual({
    signatures: 200,
    signMs: expect.closeTo(1),
    waitMs: expect.closeTo(0.1),
    failed: 2,
  })
})

test('a proxy that was started anew between the readings has no share', () => {
  const before = { signatures: 500, signSeconds: 1, waits: 500, waitSeconds: 1, failed: 3 }
  const after = { signatures: 20, signSeconds: 0.1, waits: 20, waitSeconds: 0.1, failed: 0 }

  expect(hsmShare(before, after)).toBeNull()
})

test('an admin endpoint that is none is told apart from one that is not there', async () => {
  const other = await serve(['# HELP nginx_up\nnginx_up 1\n'])

  await expect(readSignTotals(other)).rejects.toThrow('is that the admin endpoint of a Sealgate?')
  const gone = await serve([])
  await new Promise((resolve) => servers.at(-1)?.close(resolve))
  await expect(readSignTotals(gone)).rejects.toThrow(/--admin: .*ECONNREFUSED/)
})

async function serve(pages: readonly string[]): Promise<URL> {
  const left = [...pages]
  const server = createServer((_, response) => response.end(left.shift() ?? ''))
  servers.push(server.listen(0, '127.0.0.1'))
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return new URL(`http://127.0.0.1:${address.port}`)
}

function page(count: number, signSum: number, waitSum: number, failed: number): string {
  const of = (hsm: string): string => `
sealgate_sign_seconds_bucket{le="0.001",hsm="${hsm}",scheme="ed25519"} ${count}
sealgate_sign_seconds_sum{hsm="${hsm}",scheme="ed25519"} ${signSum}
sealgate_sign_seconds_count{hsm="${hsm}",scheme="ed25519"} ${count}
sealgate_sign_wait_seconds_sum{hsm="${hsm}",scheme="ed25519"} ${waitSum}
sealgate_sign_wait_seconds_count{hsm="${hsm}",scheme="ed25519"} ${count}
sealgate_signatures_total{hsm="${hsm}",scheme="ed25519",result="ok"} ${count}`
  return `${of('a')}${of('b')}
sealgate_signatures_total{hsm="a",scheme="ed25519",result="ERR_HSM_FAILED"} ${failed}
`
}

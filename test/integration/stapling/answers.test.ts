/**
 * What becomes of each answer that a responder can give, over real HTTP and with OpenSSL's verification: one is
 * believed, for every other one the reason is told.
 */

import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Agent } from 'undici'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { loadAddon, type OcspSubject } from '../../../src/native/addon.ts'
import { MAX_RESPONSE_BYTES } from '../../../src/stapling/exchange.ts'
import { Responder } from '../../../src/stapling/responder.ts'
import { responderAgent } from '../../../src/stapling/stapling.ts'
import type { Verdict } from '../../../src/stapling/verdict.ts'
import { errorAnswer } from '../../support/ocsp-answer.ts'
import { type Issued, OcspCa } from '../../support/ocsp-ca.ts'
import { OcspServer } from '../../support/ocsp-server.ts'

let directory: string
let ca: OcspCa
let leaf: Issued
let subject: OcspSubject
let server: OcspServer
let dispatcher: Agent

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'sealgate-ocsp-'))
  ca = new OcspCa(directory)
  leaf = ca.issue({ responder: 'http://ocsp.example.test/' })
  subject = new (loadAddon().OcspSubject)(der(leaf.leaf), der(ca.certificate))
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

beforeEach(async () => {
  server = await OcspServer.start()
  dispatcher = responderAgent()
})

afterEach(async () => {
  await dispatcher.destroy()
  await server[Symbol.asyncDispose]()
})

test('a good answer is believed, with its times', async () => {
  server.answer(ca.answer(leaf, { thisUpdateS: -600, nextUpdateS: 3_600 }))

  const verdict = await ask()

  expect(verdict).toMatchObject({ outcome: 'good' })
  if (verdict.outcome !== 'good') return
  expect(verdict.staple.thisUpdateMs).toBeCloseTo(Date.now() - 600_000, -4)
  expect(verdict.staple.endsMs).toBeCloseTo(Date.now() + 3_600_000, -4)
  expect(server.asked.map(({ method }) => method)).toEqual(['GET'])
})

test('a responder that the issuer has named is believed', async () => {
  const delegate = ca.issue({ names: ['responder'], usage: 'OCSPSigning' })
  server.answer(ca.answer(leaf, { delegate }))

  expect(await ask()).toMatchObject({ outcome: 'good' })
})

test('the request reaches the responder in the URL, and in the body where that would be too long', async () => {
  server.answer(ca.answer(leaf))

  await ask()
  await ask(`${server.url}/${'long/'.repeat(40)}`)

  const [get, post] = server.asked
  expect(Buffer.from(decodeURIComponent(get?.path.slice(1) ?? ''), 'base64')).toEqual(subject.request)
  expect(post).toMatchObject({ method: 'POST', path: `/${'long/'.repeat(40)}`, body: subject.request })
})

test('an answer without a next update counts for an hour', async () => {
  server.answer(ca.answer(leaf, { thisUpdateS: 0, nextUpdateS: null }))

  const verdict = await ask()

  expect(verdict.outcome === 'good' && verdict.staple.endsMs).toBeCloseTo(Date.now() + 3_600_000, -4)
})

test('a clock that is a minute behind the responder is no reason to refuse', async () => {
  server.answer(ca.answer(leaf, { thisUpdateS: 60 }))

  expect(await ask()).toMatchObject({ outcome: 'good' })
})

test('a revoked certificate is told as such', async () => {
  server.answer(ca.answer(leaf, { status: 'revoked' }))

  expect(await ask()).toMatchObject({
    outcome: 'revoked',
    message: expect.stringMatching(/REVOKED on \d{4}-.*keyCompromise/),
  })
})

test.each<[string, Verdict['outcome'], RegExp, () => Buffer]>([
  ['says that it does not know', 'unknown', /does not know/, () => ca.answer(leaf, { status: 'unknown' })],
  ['has expired', 'expired', /until \d{4}-/, () => ca.answer(leaf, { thisUpdateS: -900, nextUpdateS: -1 })],
  ['was made an hour ago, without an end', 'expired', /until/, () => lateAnswer()],
  ['is not valid yet', 'not-yet-valid', /clock/, () => ca.answer(leaf, { thisUpdateS: 900 })],
  ['is for another certificate', 'other-certificate', /nothing about/, () => ca.answer(ca.issue())],
  [
    'is another CA\u2019s',
    'other-certificate',
    /nothing about/,
    () => new OcspCa(directory, 'b').answer(leaf),
  ],
  ['has a signer without the task', 'signature', /not signed by/, () => wrongSigner('serverAuth', ca)],
  ['has a signer of another CA', 'signature', /not signed by/, () => wrongSigner('OCSPSigning', stranger())],
  ['is cut off', 'malformed', /cut off/, () => ca.answer(leaf).subarray(0, 150)],
  ['has something behind it', 'malformed', /cut off/, () => Buffer.concat([ca.answer(leaf), Buffer.of(0)])],
  ['is empty', 'malformed', /no OCSP response/, () => Buffer.alloc(0)],
  ['is a web page', 'malformed', /no OCSP response/, () => Buffer.from('<html>log in first</html>')],
  ['says malformedRequest', 'malformed-request', /malformedrequest/, () => errorAnswer(1)],
  ['says internalError', 'internal-error', /internalerror/, () => errorAnswer(2)],
  ['says tryLater', 'try-later', /trylater/, () => errorAnswer(3)],
  ['says sigRequired', 'signature-required', /sigrequired/, () => errorAnswer(5)],
  ['says unauthorized', 'unauthorized', /unauthorized/, () => errorAnswer(6)],
  ['has 10 MB', 'too-large', /65536/, () => Buffer.alloc(10_000_000, 0x30)],
  ['has a byte too many', 'too-large', /65536/, () => Buffer.alloc(MAX_RESPONSE_BYTES + 1, 0x30)],
])('an answer that %s is refused as %s', async (_what, outcome, message, bytes) => {
  server.answer(bytes())

  expect(await ask()).toEqual({ outcome, message: expect.stringMatching(message) })
})

test('a changed byte anywhere is never good', async () => {
  const answer = ca.answer(leaf)
  for (let i = 0; i < answer.length; i += 7) {
    const changed = Buffer.from(answer)
    changed.writeUInt8(changed.readUInt8(i) ^ 0x20, i)
    expect(subject.read(changed).status, `byte ${i}`).not.toBe('good')
  }
})

test('a body that goes on for ever ends with the limit', async () => {
  let sent = 0
  server.behave((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/ocsp-response' })
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(4_096)) && sent < 50_000_000) sent += 4_096
      if (sent < 50_000_000) response.once('drain', more)
    }
    more()
  })

  expect(await ask()).toMatchObject({ outcome: 'too-large' })
  expect(sent).toBeLessThan(50_000_000)
})

test('a responder that accepts and says nothing costs the timeout, no more', async () => {
  server.behave(() => {})
  const started = performance.now()

  expect(await ask(server.url, 300)).toMatchObject({
    outcome: 'timeout',
    message: expect.stringMatching(/300 ms/),
  })

  expect(performance.now() - started).toBeLessThan(2_000)
  expect(server.asked).toHaveLength(1) // not again with POST: it hangs
})

test('a responder that stops in the middle costs the timeout, no more', async () => {
  const answer = ca.answer(leaf)
  server.behave((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/ocsp-response', 'content-length': answer.length })
    response.write(answer.subarray(0, 20))
  })

  expect(await ask(server.url, 300)).toMatchObject({ outcome: 'timeout' })
})

test('a responder that is away is told as such', async () => {
  const { url } = server
  await server[Symbol.asyncDispose]()

  expect(await ask(url)).toMatchObject({
    outcome: 'connection',
    message: expect.stringMatching(/ECONNREFUSED/),
  })
  server = await OcspServer.start()
})

test('a redirect is not followed', async () => {
  await using elsewhere = await OcspServer.start()
  elsewhere.answer(ca.answer(leaf))
  server.behave((_request, response) => response.writeHead(302, { location: elsewhere.url }).end())

  expect(await ask()).toMatchObject({ outcome: 'http-status', message: expect.stringMatching(/302/) })
  expect(elsewhere.asked).toEqual([])
})

test('a page of a network that wants a login is told by its type', async () => {
  server.behave((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
  )

  expect(await ask()).toMatchObject({ outcome: 'content-type', message: expect.stringMatching(/text\/html/) })
})

test('a responder that does not take GET is asked with POST', async () => {
  const answer = ca.answer(leaf)
  server.behave((request, response) => {
    if (request.method === 'GET') response.writeHead(405).end()
    else response.writeHead(200, { 'content-type': 'application/ocsp-response' }).end(answer)
  })

  expect(await ask()).toMatchObject({ outcome: 'good' })
  expect(server.asked.map(({ method }) => method)).toEqual(['GET', 'POST'])
})

test('a cache with an old answer is passed by with POST', async () => {
  const [old, fresh] = [ca.answer(leaf, { thisUpdateS: -900, nextUpdateS: -1 }), ca.answer(leaf)]
  server.behave((request, response) => {
    response.writeHead(200, { 'content-type': 'application/ocsp-response' })
    response.end(request.method === 'GET' ? old : fresh)
  })

  expect(await ask()).toMatchObject({ outcome: 'good' })
})

async function ask(url = server.url, timeoutMs = 5_000): Promise<Verdict> {
  const { request } = subject
  if (request === undefined) throw new Error('no request')
  return new Responder({ subject, request, url, timeoutMs, dispatcher }).ask(new AbortController().signal)
}

function lateAnswer(): Buffer {
  return ca.answer(leaf, { thisUpdateS: -3_601, nextUpdateS: null })
}

function wrongSigner(usage: string, issuer: OcspCa): Buffer {
  return ca.answer(leaf, { delegate: issuer.issue({ names: ['signer'], usage }) })
}

function stranger(): OcspCa {
  return new OcspCa(directory, 'stranger')
}

function der(file: string): Uint8Array {
  return new X509Certificate(readFileSync(file)).raw
}

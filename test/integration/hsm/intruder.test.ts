/**
 * Speaks to a host directly, as whoever has taken over the front process could: it gets signatures over TLS
 * handshakes and nothing else, and a host that is sent nonsense ends.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { FrameReader } from '../../../src/hsm/frame-reader.ts'
import {
  FAILED_REASONS,
  FRAME,
  type FrameType,
  FrameWriter,
  WRAP_CALLS,
  WRAP_REASONS,
} from '../../../src/hsm/frames.ts'
import { defaultHostEntry } from '../../../src/hsm/host-process.ts'
import { schemes } from '../../../src/signing.ts'
import { handshakeMessage } from '../../support/signing.ts'
import { SoftHsm, type SoftToken } from '../../support/softhsm.ts'

const hsm = new SoftHsm()
let token: SoftToken
let spki: Uint8Array
let ecSpki: Uint8Array
let auditSpki: Uint8Array
let intruder: Intruder | undefined

beforeAll(() => {
  token = hsm.addToken('web')
  spki = token.generateKey({ label: 'rsa', id: '01', type: 'rsa:2048' })
  ecSpki = token.generateKey({ label: 'ec', id: '03', type: 'EC:prime256v1' })
  auditSpki = token.generateKey({ label: 'audit', id: '02', type: 'rsa:2048' })
  token.generateAesKey({ label: 'tickets', id: 'a1' })
  token.generateAesKey({ label: 'vault', id: 'a2' })
  token.generateAesKey({ label: 'twins', id: 'a3' })
  token.generateAesKey({ label: 'twins', id: 'a4' })
  token.generateAesKey({ label: 'loose', id: 'a5', extractable: true })
})
afterAll(() => hsm.remove())
afterEach(async () => {
  await intruder?.leave()
})

describe('a host that is asked by an intruder', () => {
  const digest = createHash('sha256').update('malware').digest()
  const rsa = schemes.filter(({ keyType }) => keyType === 'rsa')

  test.each([
    ['raw digest', digest],
    ['document', Buffer.from('I owe you 1,000,000 euros.')],
    [
      'client’s CertificateVerify',
      Buffer.concat([Buffer.alloc(64, 32), Buffer.from('TLS 1.3, client CertificateVerify\0'), digest]),
    ],
    ['checkpoint of the audit log', CHECKPOINT],
    ['DigestInfo', Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), digest])],
  ])('signs no %s, whatever the scheme', async (_, message) => {
    intruder = await Intruder.enter()

    for (const { codePoint } of rsa) {
      expect(await intruder.ask(0, codePoint, message)).toEqual({ refused: 'policy' })
    }
  })

  test('signs with no other key and no other mechanism than configured', async () => {
    intruder = await Intruder.enter()
    const message = handshakeMessage(rsa[0] ?? schemes[0] ?? fail())

    expect(await intruder.ask(1, 0x0804, message)).toEqual({ refused: 'no-such-key' })
    for (const codePoint of [0x0303, 0x0403, 0x0807, 0x0301, 0x0201, 0x0000, 0xffff]) {
      expect(await intruder.ask(0, codePoint, message)).toEqual({ refused: 'no-such-key' })
    }
  })

  test('signs a handshake, which is all there is to steal', async () => {
    intruder = await Intruder.enter()

    const answer = await intruder.ask(0, 0x0804, handshakeMessage(rsa[0] ?? fail()))

    expect(answer).toMatchObject({ signatureBytes: 256 })
  })

  test('signs with another hash than the curve’s in TLS 1.2 only', async () => {
    intruder = await Intruder.enter(configuration(ecKey()))
    const certificateVerify = handshakeMessage(schemes.find(({ tls13 }) => tls13) ?? fail())
    const serverKeyExchange = handshakeMessage(schemes.find(({ tls13 }) => !tls13) ?? fail())

    expect(await intruder.ask(0, 0x0403, certificateVerify)).toHaveProperty('signatureBytes')
    for (const other of [0x0303, 0x0503, 0x0603]) {
      expect(await intruder.ask(0, other, certificateVerify)).toEqual({ refused: 'policy' })
      expect(await intruder.ask(0, other, serverKeyExchange)).toHaveProperty('signatureBytes')
    }
  })

  test('signs no checkpoint over an older head than the last one, nor over another at the same place', async () => {
    intruder = await Intruder.enter(configuration(tlsKey(), checkpointKey()))
    const last = checkpoint(1_000, 'aa')
    expect(await intruder.ask(1, 0x0804, last)).toMatchObject({ signatureBytes: 256 })

    for (const older of [checkpoint(999, 'aa'), checkpoint(1, 'bb'), checkpoint(1_000, 'bb'), CHECKPOINT]) {
      for (const { codePoint } of rsa) {
        expect(await intruder.ask(1, codePoint, older)).toEqual({ refused: 'policy' })
      }
    }

    // What the front process itself may have to ask for: a retry, the pool's test, and what comes next.
    const test = Buffer.from('Sealgate audit checkpoint 1\ntest signature\n')
    for (const message of [last, test, checkpoint(1_001, 'cc'), checkpoint(9_007_199_254_740_991, 'dd')]) {
      expect(await intruder.ask(1, 0x0804, message)).toMatchObject({ signatureBytes: 256 })
    }
    expect(await intruder.ask(1, 0x0804, checkpoint(1_002, 'ee'))).toEqual({ refused: 'policy' })
  })

  test('signs checkpoints with their own key, and with that nothing else', async () => {
    intruder = await Intruder.enter(configuration(tlsKey(), checkpointKey()))

    expect(await intruder.ask(1, 0x0804, CHECKPOINT)).toMatchObject({ signatureBytes: 256 })
    expect(await intruder.ask(0, 0x0804, CHECKPOINT)).toEqual({ refused: 'policy' })
    for (const scheme of rsa) {
      const handshake = handshakeMessage(scheme)
      expect(await intruder.ask(1, scheme.codePoint, handshake)).toEqual({ refused: 'policy' })
      expect(await intruder.ask(1, scheme.codePoint, digest)).toEqual({ refused: 'policy' })
      expect(await intruder.ask(1, scheme.codePoint, Buffer.concat([CHECKPOINT, digest]))).toEqual({
        refused: 'policy',
      })
    }
  })

  test('ends when one key is to have two purposes, under whatever name', async () => {
    const byId = { ...tlsKey(), uri: 'pkcs11:id=%01', label: null, idHex: '01', purpose: 'audit-checkpoint' }
    intruder = Intruder.knock(configuration(tlsKey(), byId))

    expect(await intruder.lastWords()).toMatchObject({ code: 'ERR_HSM_REFUSED', final: true })
  })

  test('ends when a key has no purpose, or one that nobody knows', async () => {
    for (const purpose of [undefined, 'code-signing']) {
      intruder = Intruder.knock(configuration({ ...tlsKey(), purpose }))

      expect(await intruder.lastWords()).toMatchObject({ code: 'ERR_HSM_REFUSED' })
    }
  })

  test('wraps ticket keys with their own key, and opens what it has wrapped', async () => {
    intruder = await Intruder.enter(configuration(tlsKey()), wrapping('tickets'))

    const { body } = await intruder.wrap('wrap', TICKET_HEADER, TICKET_KEYS)

    expect(body?.includes(TICKET_KEYS)).toBe(false)
    expect(await intruder.wrap('unwrap', TICKET_HEADER, body ?? EMPTY)).toEqual({ body: TICKET_KEYS })
  })

  test('wraps and opens nothing else, and not under another header', async () => {
    intruder = await Intruder.enter(configuration(tlsKey()), wrapping('tickets'))
    const { body = EMPTY } = await intruder.wrap('wrap', TICKET_HEADER, TICKET_KEYS)

    for (const keys of [Buffer.from('x'), Buffer.alloc(79), Buffer.alloc(81), Buffer.alloc(9 * 80)])
      expect(await intruder.wrap('wrap', TICKET_HEADER, keys)).toEqual({ refused: 'policy' })
    for (const header of [
      Buffer.from('{}\n'),
      Buffer.from('sealgate ticket keys 1\nno end'),
      Buffer.from(' '.repeat(64)),
      Buffer.concat([TICKET_HEADER, Buffer.alloc(4096, 0x0a)]),
    ])
      for (const direction of ['wrap', 'unwrap'] as const)
        expect(await intruder.wrap(direction, header, direction === 'wrap' ? TICKET_KEYS : body)).toEqual({
          refused: 'policy',
        })
    const other = Buffer.from('sealgate ticket keys 1\n{"key":"other"}\n')
    expect(await intruder.wrap('unwrap', other, body)).toEqual({ refused: 'C_Decrypt' })
    for (const length of [1, 13, 29]) {
      const short = Buffer.from(body.subarray(0, length))
      expect(await intruder.wrap('unwrap', TICKET_HEADER, short)).toEqual({ refused: 'policy' })
    }
    // And goes on serving.
    expect(await intruder.wrap('unwrap', TICKET_HEADER, body)).toEqual({ body: TICKET_KEYS })
  })

  test('opens nothing that somebody else has encrypted with the wrapping key, or with a key of its own', async () => {
    for (const label of ['tickets', 'vault']) {
      const secret = encryptedWith(label, TICKET_KEYS)
      intruder = await Intruder.enter(configuration(tlsKey()), wrapping('tickets'))

      expect(await intruder.wrap('unwrap', TICKET_HEADER, secret)).toEqual({ refused: 'C_Decrypt' })
      await intruder.leave()
    }
  })

  test('has no key to wrap with when it was told of none, of one that is not there, of two, or of a private key', async () => {
    for (const key of [undefined, wrapping('nothing'), wrapping('twins'), wrapping('rsa')]) {
      intruder = await Intruder.enter(configuration(tlsKey()), key)

      for (const direction of ['wrap', 'unwrap'] as const)
        expect(await intruder.wrap(direction, TICKET_HEADER, TICKET_KEYS)).toEqual({ refused: 'no-such-key' })
      await intruder.leave()
    }
  })

  test('does not wrap with a key that could be read out of the token', async () => {
    intruder = await Intruder.enter(configuration(tlsKey()), wrapping('loose'))

    expect(await intruder.wrap('wrap', TICKET_HEADER, TICKET_KEYS)).toEqual({ refused: 'extractable' })
  })

  test('signs nothing with the wrapping key: no sign request reaches it', async () => {
    intruder = await Intruder.enter(configuration(), wrapping('tickets'))

    for (const { codePoint } of schemes)
      for (const key of [0, 1, 0xffff])
        for (const message of [TICKET_KEYS, TICKET_HEADER, handshakeMessage(rsa[0] ?? fail())])
          expect(await intruder.ask(key, codePoint, message)).toEqual({ refused: 'no-such-key' })
  })

  test('answers random wrap requests, all of them, and wraps nothing', async () => {
    intruder = await Intruder.enter(configuration(tlsKey()), wrapping('tickets'))

    for (let round = 0; round < 300; round++) {
      const payload = randomBytes(9 + (round % 200))
      if (round % 3 === 0) payload.writeUInt8(round % 2, 4)
      if (round % 3 === 1) payload.writeUInt16BE(round % 40, 5)
      expect(await intruder.wrapRaw(payload)).toEqual({ refused: 'policy' })
    }

    expect(await intruder.ask(0, 0x0804, handshakeMessage(rsa[0] ?? fail()))).toMatchObject({
      signatureBytes: 256,
    })
  })

  test('ends when it is to load another module', async () => {
    intruder = await Intruder.enter()

    intruder.writer.json(FRAME.configure, { ...configuration(tlsKey()), module: '/nonexistent/evil.so' })

    expect(await intruder.lastWords()).toMatchObject({
      code: 'ERR_HSM_REFUSED',
      message: 'a second configuration',
    })
  })

  test('ends when it is sent something that is not its protocol', async () => {
    for (let round = 0; round < 5; round++) {
      intruder = await Intruder.enter()

      intruder.send(Buffer.concat([Buffer.from([0xff]), randomBytes(64)]))

      expect(await intruder.lastWords()).toMatchObject({ code: 'ERR_HSM_REFUSED' })
    }
  })

  test('ends when the front process is gone, also in the middle of a frame', async () => {
    intruder = await Intruder.enter()

    intruder.send(Buffer.from([0, 0]))
    await intruder.leave()

    expect(intruder.ended).toBe(true)
  })
})

class Intruder {
  readonly writer = new FrameWriter()
  readonly #child: ChildProcess
  readonly #pipe: Duplex
  readonly #frames: { type: FrameType; payload: Buffer }[] = []
  readonly #exit: Promise<unknown>
  #wake: () => void = () => {}

  private constructor() {
    this.#child = spawn(process.execPath, [defaultHostEntry()], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
      env: { ...process.env, ...hsm.env },
    })
    this.#exit = once(this.#child, 'exit')
    const pipe = this.#child.stdio[3]
    if (!(pipe instanceof Duplex)) throw new Error('no pipe')
    this.#pipe = pipe
    const reader = new FrameReader(Object.values(FRAME), (type, payload) => {
      this.#frames.push({ type, payload: Buffer.from(payload) })
      this.#wake()
    })
    pipe.on('data', (chunk: Buffer) => reader.push(chunk))
    pipe.on('error', () => {})
  }

  /** A host that was told what to open. */
  static knock(config: object): Intruder {
    const intruder = new Intruder()
    intruder.writer.json(FRAME.configure, config)
    intruder.send(intruder.writer.take())
    return intruder
  }

  /** A host that has opened the token. */
  static async enter(config = configuration(tlsKey()), wrappingKey?: object): Promise<Intruder> {
    const intruder = Intruder.knock({ ...config, ...(wrappingKey && { wrappingKey }) })
    expect((await intruder.#next(FRAME.ready)).type).toBe(FRAME.ready)
    return intruder
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  send(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#pipe.write(bytes)
  }

  async ask(
    key: number,
    codePoint: number,
    message: Uint8Array,
  ): Promise<{ refused: string | undefined } | { signatureBytes: number }> {
    this.writer.sign(1, key, codePoint, message)
    this.send(this.writer.take())
    const { type, payload } = await this.#next(FRAME.signed, FRAME.failed)
    return type === FRAME.signed
      ? { signatureBytes: payload.length - 8 }
      : { refused: FAILED_REASONS[payload.readUInt8(13)] }
  }

  async wrap(
    direction: 'wrap' | 'unwrap',
    header: Uint8Array,
    body: Uint8Array,
  ): Promise<{ body?: Buffer; refused?: string | undefined }> {
    this.writer.wrap(1, direction, header, body)
    this.send(this.writer.take())
    return this.#wrapAnswer()
  }

  /** @param payload of a frame that its bounds let through. */
  async wrapRaw(payload: Buffer): Promise<{ body?: Buffer; refused?: string | undefined }> {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(payload.length + 1)
    head.writeUInt8(FRAME.wrap, 4)
    this.send(Buffer.concat([head, payload]))
    return this.#wrapAnswer()
  }

  async #wrapAnswer(): Promise<{ body?: Buffer; refused?: string | undefined }> {
    const { type, payload } = await this.#next(FRAME.wrapped, FRAME.notWrapped)
    if (type === FRAME.wrapped) return { body: payload.subarray(4) }
    return { refused: WRAP_CALLS[payload.readUInt8(8)] || WRAP_REASONS[payload.readUInt8(9)] }
  }

  /** What the host says before it ends; it does end. */
  async lastWords(): Promise<unknown> {
    this.send(this.writer.take())
    const { payload } = await this.#next(FRAME.problem)
    await this.leave()
    return JSON.parse(payload.toString())
  }

  async leave(): Promise<void> {
    this.#pipe.destroy()
    await this.#exit
  }

  async #next(...types: readonly FrameType[]): Promise<{ type: FrameType; payload: Buffer }> {
    for (;;) {
      const at = this.#frames.findIndex(({ type }) => types.includes(type))
      const [found] = at < 0 ? [] : this.#frames.splice(at, 1)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

function configuration(...keys: readonly object[]): object {
  const { name, module, token: which, pin, userType, sessions } = token.hsmOptions()
  return { hsm: name, module, token: which, pin, userType, sessions, keys }
}

function tlsKey(): object {
  const encoded = Buffer.from(spki).toString('base64')
  return { uri: 'pkcs11:object=rsa', label: 'rsa', idHex: null, spki: encoded, purpose: 'tls' }
}

function ecKey(): object {
  const encoded = Buffer.from(ecSpki).toString('base64')
  return { uri: 'pkcs11:object=ec', label: 'ec', idHex: null, spki: encoded, purpose: 'tls' }
}

function checkpointKey(): object {
  const encoded = Buffer.from(auditSpki).toString('base64')
  return {
    uri: 'pkcs11:object=audit',
    label: 'audit',
    idHex: null,
    spki: encoded,
    purpose: 'audit-checkpoint',
  }
}

function checkpoint(record: number, hashByte: string): Buffer {
  return Buffer.from(`Sealgate audit checkpoint 1\nrecord ${record}\nsha256 ${hashByte.repeat(32)}\n`)
}

function wrapping(label: string): object {
  return { uri: `pkcs11:object=${label}`, label, idHex: null }
}

/** As another program would: AES-GCM with this key of the token, without our header; IV and ciphertext as the host takes them. */
function encryptedWith(label: string, data: Buffer): Buffer {
  const script = `
    const { CK, Pkcs11Module } = await import(process.env.PKCS11)
    const module = new Pkcs11Module(process.env.MODULE)
    module.initialize(null)
    const slot = module.slotsWithToken().find((slot) => module.tokenInfo(slot).label.trim() === process.env.TOKEN)
    const session = module.openSession(slot)
    module.login(session, 1, process.env.PIN)
    const template = [{ type: CK.CKA_CLASS, value: CK.CKO_SECRET_KEY }, { type: CK.CKA_LABEL, value: process.env.LABEL }]
    const [key] = module.findObjects(session, template, 1)
    const [iv, header] = [Buffer.alloc(12, 7), Buffer.alloc(0)]
    const sealed = module.encryptGcm(session, key, { iv, header }, Buffer.from(process.env.DATA, 'hex'))
    process.stdout.write(Buffer.concat([Buffer.from([12]), iv, sealed]).toString('hex'))`
  const pkcs11 = new URL('./pkcs11.js', pathToFileURL(defaultHostEntry())).href
  const facts = { PKCS11: pkcs11, MODULE: hsm.module, TOKEN: token.label, PIN: token.pin, LABEL: label }
  const env = { ...process.env, ...hsm.env, ...facts, DATA: data.toString('hex') }
  const args = ['--input-type=module', '--eval', script]
  return Buffer.from(execFileSync(process.execPath, args, { env, encoding: 'utf8' }), 'hex')
}

const EMPTY = Buffer.alloc(0)
const TICKET_HEADER = Buffer.from('sealgate ticket keys 1\n{"key":"pkcs11:object=tickets"}\n')
const TICKET_KEYS = randomBytes(160)
const CHECKPOINT = checkpoint(7, '0f')

function fail(): never {
  throw new Error('no scheme')
}

import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'

import { FrameError, FrameReader } from '../../../src/hsm/frame-reader.ts'
import { FRAME, type FrameType, FrameWriter, MAX_PAYLOAD_BYTES } from '../../../src/hsm/frames.ts'

const ALL = Object.values(FRAME)

describe('frames', () => {
  test('arrive as they were written, however the stream is cut', () => {
    const writer = new FrameWriter()
    writer.json(FRAME.configure, { hsm: 'hsm-a' })
    writer.sign(7, 1, 0x0403, Buffer.from('message'))
    writer.signed(0xffffffff, 1234.4, Buffer.from('signature'))
    writer.failed(8, { micros: 5, rv: 0x30, call: 'C_Sign', reason: 'call' })
    writer.sessions(3, 32)
    writer.wrap(9, 'unwrap', Buffer.from('header'), Buffer.from('body'))
    writer.wrapped(9, Buffer.from('keys'))
    writer.notWrapped(10, { rv: 5, call: 'C_Decrypt', reason: 'call' })
    const bytes = writer.take()

    for (let cut = 1; cut <= bytes.length; cut++) {
      const frames = read(pieces(bytes, cut))

      expect(frames).toEqual([
        [FRAME.configure, Buffer.from('{"hsm":"hsm-a"}').toString('hex')],
        [FRAME.sign, `0000000700010403${Buffer.from('message').toString('hex')}`],
        [FRAME.signed, `ffffffff000004d2${Buffer.from('signature').toString('hex')}`],
        [FRAME.failed, '0000000800000005000000300200'],
        [FRAME.sessions, '00030020'],
        [FRAME.wrap, `00000009010006${Buffer.from('headerbody').toString('hex')}`],
        [FRAME.wrapped, `00000009${Buffer.from('keys').toString('hex')}`],
        [FRAME.notWrapped, '0000000a000000050400'],
      ])
    }
  })

  test('of one turn are one run of bytes, and what was taken is not written again', () => {
    const writer = new FrameWriter()
    writer.sessions(1, 2)
    const first = writer.take()
    const copy = Buffer.from(first)

    for (let i = 0; i < 20_000; i++) writer.sign(i, 0, 0x0403, new Uint8Array(130))
    const rest = writer.take()

    expect(Buffer.from(first)).toEqual(copy)
    expect(rest.length).toBe(20_000 * (5 + 8 + 130))
    expect(writer.empty).toBe(true)
  })

  test('that are too long cannot be written', () => {
    const writer = new FrameWriter()

    expect(() => writer.sign(1, 0, 0x0403, new Uint8Array(1000))).toThrow(RangeError)
    expect(() => writer.wrap(1, 'wrap', new Uint8Array(9000), new Uint8Array(80))).toThrow(RangeError)
    expect(() => writer.wrapped(1, new Uint8Array(3000))).toThrow(RangeError)
    expect(() => writer.json(FRAME.configure, { keys: 'k'.repeat(9_000_000) })).toThrow(RangeError)
    expect(writer.empty).toBe(true)
  })
})

describe('the reader', () => {
  test.each([
    ['of an unknown type', '00000005ff00000000'],
    ['of a type for the other side', `00000009${hex8(FRAME.signed)}0000000000000000`],
    ['that are longer than their type may be', `00001000${hex8(FRAME.sign)}`],
    ['of 4 GiB', `ffffffff${hex8(FRAME.sign)}`],
    ['without even a type', '0000000004'],
    ['too short to mean anything', `00000004${hex8(FRAME.sign)}000000`],
  ])('refuses frames %s, before their payload has arrived', (_, bytes) => {
    const reader = new FrameReader([FRAME.sign], () => {
      throw new Error('not to be called')
    })

    expect(() => reader.push(Buffer.from(bytes, 'hex'))).toThrow(FrameError)
  })

  test('of random bytes either finds frames within bounds or refuses, and nothing else', () => {
    for (let round = 0; round < 20_000; round++) {
      const reader = new FrameReader(ALL, (type, payload) => {
        expect(payload.length).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES[type])
      })
      try {
        for (let chunk = 0; chunk < 4; chunk++) reader.push(randomFrameish(round))
      } catch (error) {
        expect(error).toBeInstanceOf(FrameError)
      }
    }
  })
})

/** Random bytes; every other round with a header that is right, so that not all end at the first. */
function randomFrameish(round: number): Buffer {
  const bytes = randomBytes(round % 64)
  if (round % 2 === 0 && bytes.length >= 5) {
    bytes.writeUInt32BE(bytes.length - 4, 0)
    bytes.writeUInt8(1 + (round % ALL.length), 4)
  }
  return bytes
}

function read(chunks: readonly Buffer[]): [FrameType, string][] {
  const frames: [FrameType, string][] = []
  const reader = new FrameReader(ALL, (type, payload) => frames.push([type, payload.toString('hex')]))
  for (const chunk of chunks) reader.push(chunk)
  return frames
}

function pieces(bytes: Uint8Array, size: number): Buffer[] {
  const count = Math.ceil(bytes.length / size)
  return Array.from({ length: count }, (_, at) => Buffer.from(bytes.subarray(at * size, (at + 1) * size)))
}

function hex8(value: number): string {
  return value.toString(16).padStart(2, '0')
}

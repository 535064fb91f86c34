/** HTTP/2 as bytes, for what no library sends (RFC 9113 §4.1). */

export function frame(
  head: { readonly type: number; readonly flags?: number; readonly stream: number },
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const bytes = Buffer.alloc(9)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes.writeUInt8(head.type, 3)
  bytes.writeUInt8(head.flags ?? 0, 4)
  bytes.writeUInt32BE(head.stream, 5)
  return Buffer.concat([bytes, payload])
}

/** A field block of HEADERS. */
export function headers(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(Object.entries(fields).map(([name, value]) => literalField(name, value)))
}

/** RFC 7541 §6.2.2, without Huffman coding. */
function literalField(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.of(0, name.length),
    Buffer.from(name),
    Buffer.of(value.length),
    Buffer.from(value),
  ])
}

/** What a client sends first; its settings are the defaults. */
export const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame({ type: 4, stream: 0 }),
])

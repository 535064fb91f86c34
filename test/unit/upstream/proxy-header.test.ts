import { expect, test } from 'vitest'
import { type ProxiedConnection, proxyHeader } from '../../../src/upstream/proxy-header.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const connection: ProxiedConnection = {
  peer: '192.0.2.7',
  peerPort: 40_000,
  localAddress: '198.51.100.1',
  localPort: 443,
  serverName: 'db.test',
  alpnProtocol: 'pg',
  tlsVersion: 'TLSv1.3',
  cipher: 'TLS_AES_128_GCM_SHA256',
  resumed: false,
}
const facts = [
  ['01', '0002', hex('pg')],
  ['02', '0007', hex('db.test')],
  ['20', '0028', '01', '00000001', '21', '0007', hex('TLSv1.3'), '23', '0016', hex('TLS_AES_128_GCM_SHA256')],
].flat()

test('a header says who the client is, where it connected, and what TLS agreed on', () => {
  const addresses = ['c0000207', 'c6336401', '9c40', '01bb']
  expect(text(connection)).toBe([SIGNATURE, '21', '11', '0046', ...addresses, ...facts].join(''))
})

test('what was not negotiated is left out', () => {
  const header = text({ ...connection, serverName: undefined, alpnProtocol: undefined })
  expect(header.slice(0, 32)).toBe(`${SIGNATURE}21110037`)
  expect(header.slice(56, 58)).toBe('20')
})

test.each([
  ['2001:db8::7', '20010db8000000000000000000000007'],
  ['::1', '00000000000000000000000000000001'],
  ['::', '00000000000000000000000000000000'],
  ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
  ['fe80::1%eth0', 'fe800000000000000000000000000001'],
  ['2001:db8::', '20010db8000000000000000000000000'],
])('%s is sixteen bytes', (peer, bytes) => {
  const header = text({ ...connection, peer, localAddress: '::2' })
  expect(header.slice(24, 28)).toBe('2121')
  expect(header.slice(32, 64)).toBe(bytes)
})

test('ends of two families become one: IPv4 is mapped', () => {
  const header = text({ ...connection, peer: '2001:db8::7', localAddress: '198.51.100.1' })
  expect(header.slice(64, 96)).toBe('00000000000000000000ffffc6336401')
})

test('a client certificate too large for any reader is left out; the name stays', () => {
  const clientCertificate = { commonName: 'alice', certificate: Buffer.alloc(60_000) }
  const header = proxyHeader({ ...connection, clientCertificate }, 'v2-certificate')
  expect(header.length).toBeLessThan(200)
  expect(header.readUInt16BE(14) + 16).toBe(header.length)
  expect(header.toString('latin1')).toContain('\x22\x00\x05alice')
})

function text(of: ProxiedConnection): string {
  return proxyHeader(of, 'v2').toString('hex')
}

function hex(value: string): string {
  return Buffer.from(value).toString('hex')
}

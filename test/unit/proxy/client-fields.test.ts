import { expect, test } from 'vitest'
import { clientFields, removeReserved } from '../../../src/proxy/client-fields.ts'
import { fieldRule } from '../../../src/proxy/fields.ts'
import type { ClientFields } from '../../../src/proxy/options.ts'

const NAMES: ClientFields = {
  certificate: 'Client-Cert',
  chain: 'Client-Cert-Chain',
  subject: undefined,
  subjectAltNames: 'X-San',
  serial: 'X-Serial',
  fingerprint: undefined,
}
const CLIENT = {
  certificate: Uint8Array.of(1, 2, 3),
  chain: [Uint8Array.of(4), Uint8Array.of(5)],
  subject: 'CN=a',
  commonName: 'a',
  subjectAltNames: ['DNS:a.example', 'URI:x:"\\'],
  serial: '0A',
  fingerprint: 'ff',
}

test('fields are structured as RFC 9440 and RFC 8941 say; what is not named is not told', () => {
  expect(clientFields(NAMES, CLIENT)).toEqual([
    ...['Client-Cert', ':AQID:'],
    ...['Client-Cert-Chain', ':BA==:, :BQ==:'],
    ...['X-San', '"DNS:a.example", "URI:x:\\"\\\\"'],
    ...['X-Serial', '0A'],
  ])
})

test('an empty chain, and a connection without a certificate, have no field', () => {
  expect(clientFields(NAMES, { ...CLIENT, chain: [], subjectAltNames: [] })).toEqual([
    ...['Client-Cert', ':AQID:'],
    ...['X-Serial', '0A'],
  ])
  expect(clientFields(NAMES, undefined)).toEqual([])
  expect(clientFields(undefined, CLIENT)).toEqual([])
})

test('Client-Cert and Client-Cert-Chain are never taken from a client, in no spelling', () => {
  for (const name of ['Client-Cert', 'client_cert', 'CLIENT-CERT-CHAIN', 'Client_Cert-Chain']) {
    expect(fieldRule(name).action, name).toBe('drop')
  }
})

test('reserved names are removed wherever they stand and however they are written', () => {
  const headers = ['X-San', '1', 'A', '2', 'x_san', '3', 'X-SAN', '4', 'X-Sand', '5']

  removeReserved(headers, new Set(['x-san']))

  expect(headers).toEqual(['A', '2', 'X-Sand', '5'])
})

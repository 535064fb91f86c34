/** The keys of `client_certificate`, of listeners and routes; part of schema.ts. */

import { z } from 'zod'
import { integer, path, text } from './fields.ts'

const patterns = (type: string) =>
  z
    .array(text({ max: 2_048 }))
    .prefault([])
    .meta({ 'x-type': type })

const fieldName = () =>
  text({ max: 64, type: 'header name or `off`' }).regex(
    /^[A-Za-z][A-Za-z0-9-]*$/,
    'is no name of a header: use letters, digits and "-", starting with a letter; or off',
  )

const allowSchema = z
  .strictObject({
    dns: patterns('list of names').describe(
      'DNS names of its subjectAltName, exact or with `*.` for one label.',
    ),
    uri: patterns('list of URIs').describe('URIs, exact or with `/*` at the end for everything beneath.'),
    spiffe: patterns('list of SPIFFE IDs').describe(
      'As `uri`, for X.509-SVIDs: the certificate must have exactly one URI, e.g. `spiffe://example.org/ns/prod/*`.',
    ),
    email: patterns('list of addresses').describe('Email addresses, exact.'),
    spki: patterns('list of pins').describe(
      'Public keys: base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469), with or without `sha256//` before it.',
    ),
  })
  .meta({ title: 'listeners[].client_certificate.allow' })
  .optional()
  .describe(
    'Who is let in: a certificate that fits one of these. Absent: every one that `ca` stands for. Anybody else fails in the handshake (alert bad_certificate).',
  )

const headersSchema = z
  .strictObject({
    certificate: fieldName()
      .prefault('Client-Cert')
      .describe('The certificate, RFC 9440: base64 of its DER between colons.'),
    chain: fieldName()
      .prefault('off')
      .describe(
        'Its issuers without the root, RFC 9440; usually `Client-Cert-Chain`. Session tickets grow by them.',
      ),
    subject: fieldName().prefault('off').describe('The subject, RFC 2253, e.g. `CN=alice,O=Example`.'),
    san: fieldName()
      .prefault('off')
      .describe(
        'subjectAltName as a list of quoted strings (RFC 8941): `"DNS:a.example", "URI:spiffe://…"`.',
      ),
    serial: fieldName().prefault('off').describe('The serial number, hexadecimal, upper case.'),
    fingerprint: fieldName().prefault('off').describe('SHA-256 of the certificate, hexadecimal, lower case.'),
  })
  .meta({ title: 'listeners[].client_certificate.headers' })
  .prefault({})
  .describe(
    'http only. Headers that tell the upstream about a verified certificate; `off`: not told. Clients cannot send them, on no listener of this file; nor `Client-Cert` and `Client-Cert-Chain`, whether they are used or not.',
  )

const keys = {
  mode: z
    .enum(['request', 'require'])
    .describe(
      'require: no handshake without a good certificate. request: it may be missing, but not bad; routes can require it.',
    ),
  ca: path().describe(
    'PEM bundle of the CAs that clients may be issued by: roots, and intermediates that clients do not send. Read again when it changes.',
  ),
  crl: z
    .array(path())
    .min(1, 'is empty: name a file, or remove the key')
    .optional()
    .meta({ 'x-type': 'list of paths' })
    .describe(
      'PEM files of revocation lists, read again when they change. Every issuer needs a current one: without it, its clients are refused.',
    ),
  crl_check: z
    .enum(['chain', 'leaf'])
    .prefault('chain')
    .describe('chain: intermediates are looked up too. leaf: only the certificate of the client.'),
  depth: integer({ min: 0, max: 10 })
    .prefault(2)
    .describe('Intermediates between the certificate and the root at most.'),
  allow: allowSchema,
}

export type ClientCertificateEntry = z.output<typeof tcpClientCertificateSchema>
export const tcpClientCertificateSchema = z
  .strictObject(keys)
  .meta({ title: 'listeners[].client_certificate' })

export type HttpClientCertificateEntry = z.output<typeof httpClientCertificateSchema>
export const httpClientCertificateSchema = z
  .strictObject({ ...keys, headers: headersSchema })
  .meta({ title: 'listeners[].client_certificate' })

/** OCSP stapling, for all certificates and for single ones. What cannot be told from one value is in stapling.ts. */

import { z } from 'zod'
import { duration, path, text } from './fields.ts'
import { MINUTE } from './quantities.ts'

const responder = () =>
  text({ type: 'URL' })
    .refine((value) => isHttpUrl(value), 'is no URL of a responder: it begins with http:// or https://')
    .meta({ 'x-type': 'URL' })

const missing = () => z.enum(['serve', 'refuse'])

export type CertificateOcspEntry = z.output<typeof certificateOcspSchema>
export const certificateOcspSchema = z
  .union(
    [
      z.enum(['off', 'fetch']),
      z.strictObject({
        file: path()
          .optional()
          .describe(
            'DER file with the response, which somebody else keeps fresh (`openssl ocsp -respout`); read again when it changes. Absent: it is fetched.',
          ),
        responder: responder()
          .optional()
          .describe('Asked instead of the responder that the certificate names.'),
        issuer: path()
          .optional()
          .describe(
            "PEM file with the issuer's certificate, which the response is verified with. Needed where `chain` holds the leaf only.",
          ),
        missing: missing().optional().describe('As `ocsp.missing`, for this certificate.'),
      }),
    ],
    {
      error: (issue) =>
        issue.code === 'invalid_union' && (typeof issue.input !== 'object' || issue.input === null)
          ? 'must be off, fetch, or a map with keys such as file or responder'
          : undefined,
    },
  )
  .optional()

export type OcspEntry = z.output<typeof ocspSchema>
export const ocspSchema = z
  .strictObject({
    staple: z
      .enum(['fetch', 'off'])
      .prefault('fetch')
      .describe(
        'For certificates that do not say themselves. fetch: where the certificate names a responder. off: nobody is asked.',
      ),
    cache: path()
      .optional()
      .describe(
        'Directory where responses survive a restart; it is made when it is missing. What is read there is verified anew. Absent: every start fetches them again.',
      ),
    timeout: duration({ min: 100, max: 2 * MINUTE })
      .prefault('10s')
      .describe('One request to a responder. Handshakes never wait for it.'),
    missing: missing()
      .prefault('serve')
      .describe(
        'While there is no response that is good now. serve: without one; clients that insist (must-staple) refuse the certificate themselves. refuse: clients that ask for a response get an alert, all others are served.',
      ),
    start_wait: duration({ min: 0, max: 5 * MINUTE })
      .prefault('5s')
      .describe(
        'At the start, listeners stay closed for so long at most while a must-staple certificate, or one with `missing: refuse`, has no response yet.',
      ),
  })
  .prefault({})
  .describe(
    'OCSP stapling: clients get the proof that a certificate is not revoked along with it. Only verified responses that say good are stapled, and none beyond its end.',
  )

function isHttpUrl(value: string): boolean {
  return URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)
}

// @ts-check
/** What the servers under test serve: the same at Sealgate and at nginx. */

/**
 * A listener with its policy, in Sealgate's words; what is absent is as in `intermediate`.
 *
 * @typedef {object} Policy
 * @property {readonly ('TLSv1.2' | 'TLSv1.3')[]} [versions]
 * @property {readonly string[]} [tls12Suites] OpenSSL's names
 * @property {readonly string[]} [tls13Suites]
 * @property {readonly string[]} [groups]
 * @property {true} [clientCertificate] asked for
 * @property {true} [echo] TLS to a TCP server that sends back what it gets, instead of HTTP
 *
 * @typedef {'default' | 'wide' | 'tls12' | 'request' | 'echo'} PolicyName
 * @typedef {'usual' | 'p-384' | 'p-521'} SiteName
 */

/** As src/config/tls-policy.ts has them for `intermediate`, where nginx has to be told. */
export const INTERMEDIATE = {
  tls12Suites: [
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ],
  tls13Suites: ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
  groups: ['X25519', 'P-256', 'P-384'],
}

/**
 * Many scripts for TLS 1.2 know no AEAD suite, and others look at every suite or curve: all that OpenSSL has
 * with ECDHE, and every group of TLS 1.3.
 */
const WIDE = {
  tls12Suites: [
    ...INTERMEDIATE.tls12Suites,
    'ECDHE-ECDSA-AES128-CCM',
    'ECDHE-ECDSA-AES256-CCM',
    'ECDHE-ECDSA-AES128-CCM8',
    'ECDHE-ECDSA-AES256-CCM8',
    'ECDHE-ECDSA-AES128-SHA256',
    'ECDHE-RSA-AES128-SHA256',
    'ECDHE-ECDSA-AES256-SHA384',
    'ECDHE-RSA-AES256-SHA384',
    'ECDHE-ECDSA-AES128-SHA',
    'ECDHE-RSA-AES128-SHA',
    'ECDHE-ECDSA-AES256-SHA',
    'ECDHE-RSA-AES256-SHA',
  ],
  tls13Suites: [...INTERMEDIATE.tls13Suites, 'TLS_AES_128_CCM_SHA256', 'TLS_AES_128_CCM_8_SHA256'],
  groups: [
    ...INTERMEDIATE.groups,
    'P-521',
    'X448',
    'ffdhe2048',
    'ffdhe3072',
    'ffdhe4096',
    'ffdhe6144',
    'ffdhe8192',
  ],
}

/** @type {Readonly<Record<PolicyName, Policy>>} */
export const POLICIES = {
  default: {},
  wide: WIDE,
  tls12: { ...WIDE, versions: ['TLSv1.2'] },
  request: { ...WIDE, clientCertificate: true },
  echo: { ...WIDE, echo: true },
}

/** Keys of the certificate for `localhost`; a server has one of each type. `keys generate` knows these words. */
export const SITES = /** @type {const} */ ({
  usual: ['rsa-2048', 'p-256'],
  'p-384': ['rsa-3072', 'p-384'],
  'p-521': ['rsa-4096', 'p-521', 'ed25519'],
})

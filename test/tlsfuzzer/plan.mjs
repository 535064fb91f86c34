// @ts-check
/** Which of tlsfuzzer's scripts are run, against which listener, and what each is told of it. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @typedef {import('./policies.mjs').PolicyName} PolicyName
 * @typedef {import('./policies.mjs').SiteName} SiteName
 * @typedef {import('./certificates.mjs').KeyType} KeyType
 *
 * @typedef {object} Settings
 * @property {readonly string[]} args
 * @property {PolicyName} policy
 * @property {SiteName} site
 * @property {KeyType} [client] key of the certificate that the script shows (-k, -c)
 * @property {true} [told] which signature schemes the server takes from clients (-s)
 * @property {true} [ecdhe] by way of ecdhe.py
 *
 * @typedef {Settings & { id: string, file: string }} Run
 */

/**
 * Scripts that can tell nothing about a server with ECDHE, TLS 1.2 and 1.3 only, or about none whose TLS is OpenSSL's.
 *
 * @type {Readonly<Record<string, readonly string[]>>} by the reason
 */
const REASONS = {
  'key exchange by RSA is what it is about, and is off': [
    'bleichenbacher-timing-marvin',
    'bleichenbacher-timing-pregenerate',
    'bleichenbacher-workaround',
    'invalid-rsa-key-exchange-messages',
    'truncating-of-kRSA-client-key-exchange',
  ],
  'key exchange by DHE in TLS 1.2, which is off': [
    'clienthello-md5',
    'dhe-key-share-random',
    'dhe-no-shared-secret-padding',
    'dhe-rsa-key-exchange',
    'dhe-rsa-key-exchange-signatures',
    'dhe-rsa-key-exchange-with-bad-messages',
    'ffdhe-expected-params',
    'ffdhe-negotiation',
    'unsupported-curve-fallback',
  ],
  'DSA, which TLS 1.3 (RFC 8446 §1.2) and FIPS 186-5 have dropped; nginx takes it from clients of TLS 1.2, we do not':
    ['dsa-in-certificate-verify', 'dsa-sig-flexibility'],
  'versions before TLS 1.2, which are off': ['SSLv3-padding', 'TLSv1_2-rejected-without-TLSv1_2'],
  'it times answers for hours': ['lucky13', 'tls13-minerva'],
  'renegotiation, which is off': ['renegotiation-disabled-client-cert'],
  'heartbeat, which OpenSSL has no more': ['heartbeat'],
  'record_size_limit, which OpenSSL does not have': ['record-size-limit'],
  'compressed client certificates, which are off': ['tls13-client-certificate-compression'],
  'post-handshake authentication, which HTTP/2 forbids (RFC 8740) and neither server has': [
    'tls13-post-handshake-auth',
  ],
  'a PSK that was agreed on elsewhere, which neither server has': ['tls13-psk_dhe_ke', 'tls13-psk_ke'],
  'a certificate with an RSASSA-PSS key, which has no type of its own in PKCS#11': [
    'tls13-rsapss-signatures',
  ],
  'Brainpool curves, which OpenSSL 3.0 has in no TLS 1.3': [
    'tls13-ecdhe-brainpool-curves',
    'tls13-ecdsa-brainpool-in-certificate-verify',
  ],
  'ML-KEM and ML-DSA, which nginx has with OpenSSL 3.5 only': [
    'tls13-mldsa-in-certificate-verify',
    'tls13-mlkem',
  ],
}

/** @type {ReadonlyMap<string, string>} file → reason */
export const NOT_RUN = new Map(
  Object.entries(REASONS).flatMap(([reason, names]) => names.map((name) => [fileOf(name), reason])),
)

/**
 * @param {string} tlsfuzzer
 * @returns {readonly Run[]}
 */
export function planRuns(tlsfuzzer) {
  const files = readdirSync(join(tlsfuzzer, 'scripts')).filter((file) => /^test-.*\.py$/.test(file))
  return files.filter((file) => !NOT_RUN.has(file)).flatMap((file) => runsOf(tlsfuzzer, file))
}

/**
 * @param {string} tlsfuzzer
 * @param {string} file
 * @returns {readonly Run[]}
 */
function runsOf(tlsfuzzer, file) {
  const name = file.replace(/^test-|\.py$/g, '')
  const settings = SETTINGS[name] ?? usualSettings(tlsfuzzer, file)
  return settings.map((some) => {
    /** @type {Settings} */
    const all = { args: [], policy: 'wide', site: 'usual', ...some }
    const { args, policy, site, client, ecdhe } = all
    const excluded = args.indexOf('-e')
    const words = [
      ...(ecdhe ? ['with ecdhe.py'] : []),
      ...(excluded < 0 ? args : args.slice(0, excluded)),
      ...[`at ${policy}`, ...(site === 'usual' ? [] : [site])],
      ...(client ? [`client ${client}`] : []),
    ]
    return { id: [name, ...words].join(' '), file, ...all }
  })
}

/**
 * @param {string} tlsfuzzer
 * @param {string} file
 * @returns {readonly Partial<Settings>[]}
 */
function usualSettings(tlsfuzzer, file) {
  if (file.startsWith('test-tls13')) return [{ policy: 'default' }]
  const app = join(tlsfuzzer, 'tlsfuzzer', '_apps', file.replaceAll('-', '_'))
  const options = /getopt\.getopt\(\s*\w+,\s*["']([^"']*)/.exec(readFileSync(app, 'utf8'))?.[1] ?? ''
  if (options.includes('C:')) {
    return [
      { args: ['-C', AEAD.rsa], policy: 'default' },
      { args: ['-C', AEAD.ecdsa], policy: 'default' },
      { args: ['-C', CBC.rsa] },
    ]
  }
  return [{ args: options.includes('d') ? ['-d'] : [] }]
}

/** @param {string} name */
function fileOf(name) {
  return `test-${name}.py`
}

/** @param {...string} probes */
function without(...probes) {
  return probes.flatMap((probe) => ['-e', probe])
}

/** @param {readonly KeyType[]} keys @param {Partial<Settings>} [also] */
function asClients(keys, also) {
  return keys.map((client) => ({ policy: /** @type {const} */ ('request'), client, ...also }))
}

/** @param {Partial<Settings>} settings */
function atAllSites(settings) {
  return /** @type {const} */ (['usual', 'p-384', 'p-521']).map((site) => ({ ...settings, site }))
}

const AEAD = {
  rsa: 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
  ecdsa: 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
}
const CBC = { rsa: 'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA', ecdsa: 'TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA' }
const CHACHA20 = {
  rsa: 'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256',
  ecdsa: 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256',
}
const told = /** @type {const} */ (true)
const ecdhe = /** @type {const} */ (true)

/**
 * Scripts for which the usual settings are wrong or too few; by name.
 *
 * @type {Readonly<Record<string, readonly Partial<Settings>[]>>}
 */
const SETTINGS = {
  'aes-gcm-nonces': [{ args: ['-d'] }],
  'certificate-malformed': asClients(['rsa-2048'], { args: ['-C', AEAD.rsa, '-n', '150'] }),
  'certificate-request': asClients(['rsa-2048'], { args: ['-C', AEAD.rsa], told }),
  'certificate-verify': asClients(['rsa-2048'], { args: ['-C', AEAD.rsa] }),
  'certificate-verify-malformed': asClients(['rsa-2048'], { args: ['-C', AEAD.rsa] }),
  'certificate-verify-malformed-sig': asClients(['rsa-2048'], { args: ['-d'] }),
  chacha20: [{ args: ['--extra-exts'] }],
  'cve-2016-2107': [{ args: ['-d'] }],
  'cve-2016-7054': [{ args: ['-C', CHACHA20.rsa] }, { args: ['-C', CHACHA20.ecdsa] }],
  'downgrade-protection': [
    { args: ['-d', '--server-max-protocol', 'TLSv1.3'] },
    { args: ['-d', '--server-max-protocol', 'TLSv1.2'], policy: 'tls12' },
  ],
  'ecdhe-padded-shared-secret': [{ ecdhe }],
  'ecdhe-rsa-key-exchange': [{ ecdhe, args: without('ECDHE w/o extension') }],
  'ecdhe-rsa-key-share-random': [{ ecdhe }],
  'ecdsa-in-certificate-verify': asClients(['p-256', 'p-384', 'p-521'], { args: ['-n', '0'] }),
  'ecdsa-sig-flexibility': atAllSites({
    args: ['-C', AEAD.ecdsa, '-g', 'secp256r1:secp384r1:secp521r1'],
    policy: 'default',
  }),
  'eddsa-in-certificate-verify': asClients(['ed25519', 'ed448']),
  'empty-extensions': [{ ecdhe, args: without('empty extensions') }],
  'extended-master-secret-extension-with-client-cert': asClients(['rsa-2048'], { args: ['-d'], told }),
  'export-ciphers-rejected': [{ args: ['-d', '--min-ver', 'TLSv1.2'] }],
  extensions: [
    {
      ecdhe,
      // They hit what ecdhe.py puts first, or are too many with it.
      args: without(
        ...Array.from({ length: 256 }, (_, length) => `fuzz ext length to ${length}`),
        '16383 extensions',
        '16383 extensions last empty',
      ),
    },
  ],
  'fallback-scsv': [{ args: ['-d', '--tls-1.3'] }, { args: ['-d'], policy: 'tls12' }],
  'fuzzed-MAC': [{ args: ['-C', CBC.rsa] }, { args: ['-C', CBC.ecdsa] }],
  'fuzzed-finished': [{ ecdhe }],
  'fuzzed-plaintext': [{ args: ['-C', CBC.rsa] }, { args: ['-C', CBC.ecdsa] }],
  'invalid-cipher-suites': [{ ecdhe }],
  'invalid-client-hello': [{ ecdhe }],
  'invalid-session-id': [{ ecdhe }],
  'invalid-version': [{ ecdhe }],
  lengths: [
    { args: ['-C', AEAD.rsa, '-n', '100'], policy: 'echo' },
    { args: ['-C', CBC.rsa, '-n', '100'], policy: 'echo' },
  ],
  'message-duplication': [{ ecdhe }],
  'ocsp-stapling': [{ args: ['-d', '--no-status'] }],
  'openssl-3712': [{ ecdhe }],
  'point-extension': [
    { args: ['-C', AEAD.rsa, '--ec-point-f', '0:1:2'] },
    { args: ['-C', AEAD.ecdsa, '--ec-point-f', '0:1:2'] },
  ],
  'resumption-with-wrong-ciphers': [{ args: ['-d', '--swap-ciphers'] }],
  'rsa-pss-sigs-on-certificate-verify': asClients(['rsa-2048', 'rsa-pss'], { ecdhe, told }),
  'rsa-sigs-on-certificate-verify': asClients(['rsa-2048'], { args: ['-d'] }),
  'serverhello-random': [{ ecdhe }],
  'session-ticket-resumption': [{ args: ['-d', '--no-new-ticket-on-resumption'] }],
  'sig-algs-renegotiation-resumption': [{ args: ['-d', '--no-renego', '--sig-algs-drop-ok'] }],
  'signature-algorithms': [{ args: ['--no-sha1'] }, { args: ['--no-sha1', '--ecdsa'] }],
  'sslv2hello-protocol': [{ args: ['-d', '--no-ssl2'] }],
  'tls13-0rtt-garbage': [{ args: ['-d'] }],
  'tls13-certificate-compression': [{ args: ['-d'] }],
  'tls13-certificate-request': asClients(['rsa-2048'], { told }),
  'tls13-certificate-verify': asClients(['rsa-2048', 'rsa-pss'], { told }),
  'tls13-conversation': [{ policy: 'default' }, { site: 'p-384' }, { site: 'p-521' }],
  'tls13-count-tickets': [{ args: ['-t', '2'], policy: 'default' }],
  'tls13-crfg-curves': [{}],
  'tls13-ecdhe-curves': [{}],
  'tls13-ecdsa-in-certificate-verify': asClients(['p-256', 'p-384', 'p-521'], { told }),
  'tls13-ecdsa-support': atAllSites({ policy: 'default' }),
  'tls13-eddsa': [{ site: 'p-521' }],
  'tls13-eddsa-in-certificate-verify': asClients(['ed25519', 'ed448'], { told }),
  'tls13-ffdhe-groups': [{}],
  'tls13-ffdhe-sanity': [{}],
  'tls13-large-number-of-extensions': [{ args: ['--supgroup'], policy: 'default' }],
  'tls13-lengths': [{ args: ['-n', '100'], policy: 'echo' }],
  'tls13-no-unknown-groups': [{ args: ['--groups', 'x25519,secp256r1,secp384r1'], policy: 'default' }],
  'tls13-non-support': [{ policy: 'tls12' }],
  'tls13-obsolete-curves': [{ args: ['--relaxed', '-a', 'handshake_failure'], policy: 'default' }],
  'tls13-session-resumption': [{ args: ['-d'] }],
  'tls13-symetric-ciphers': [{}],
  'tls13-unrecognised-groups': [{}],
  'tls13-version-negotiation': [{ args: ['-C', AEAD.rsa], policy: 'default' }],
  'truncating-of-finished': [{ ecdhe }],
  x25519: [{}],
}

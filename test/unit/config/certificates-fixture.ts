/** Certificates made on the spot with the openssl command; their keys are thrown away with the folder. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Issuer {
  readonly certificate: string
  readonly key: string
}

export interface CertificateFixture {
  readonly directory: string
  /** @returns paths of the PEM files; self-signed without an issuer. */
  issue(name: string, options?: IssueOptions): Issuer
  /** PEM text of the certificates, in order. */
  pem(...certificates: Issuer[]): string
  [Symbol.dispose](): void
}

export interface IssueOptions {
  readonly issuer?: Issuer
  readonly subject?: string
  /** e.g. `DNS:localhost,IP:127.0.0.1`; none when empty. */
  readonly names?: string
  readonly key?: readonly string[]
  readonly ca?: boolean
  readonly days?: number
}

const EC_KEY = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']

export function certificateFixture(): CertificateFixture {
  const directory = mkdtempSync(join(tmpdir(), 'sealgate-certificates-'))
  return {
    directory,
    issue: (name, options = {}) => issue(directory, name, options),
    pem: (...certificates) =>
      certificates.map(({ certificate }) => readFileSync(certificate, 'utf8')).join(''),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  }
}

function issue(directory: string, name: string, options: IssueOptions): Issuer {
  const {
    issuer,
    subject = `/CN=${name}`,
    names = `DNS:${name}`,
    key = EC_KEY,
    ca = false,
    days = 90,
  } = options
  const paths = { certificate: join(directory, `${name}.pem`), key: join(directory, `${name}.key`) }
  openssl([
    'req',
    '-x509',
    '-nodes',
    '-newkey',
    ...key,
    '-keyout',
    paths.key,
    '-out',
    paths.certificate,
    '-subj',
    subject,
    '-days',
    String(days),
    ...(names === '' ? [] : ['-addext', `subjectAltName=${names}`]),
    '-addext',
    `basicConstraints=critical,CA:${ca ? 'TRUE' : 'FALSE'}`,
    ...(issuer === undefined ? [] : ['-CA', issuer.certificate, '-CAkey', issuer.key]),
  ])
  return paths
}

function openssl(args: readonly string[]): void {
  try {
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    throw missing ? new Error('openssl is missing: apt-get install openssl', { cause: error }) : error
  }
}

/**
 * Whoever has an HSM and a CA and wants a certificate: `sealgate keys` in a folder of its own, with two members on one
 * token, and a CA made by openssl that knows nothing of HSMs.
 */

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { freePort } from './free-port.ts'
import { sealgateCommand } from './sealgate.ts'
import { SoftHsm, type SoftToken } from './softhsm.ts'
import { type Outcome, runTool } from './tools.ts'

export class KeyOwner implements Disposable {
  readonly softHsm = new SoftHsm()
  readonly token: SoftToken
  readonly directory = join(this.softHsm.directory, 'etc')
  readonly config = join(this.directory, 'sealgate.yaml')
  readonly #ports: { readonly upstream: number; readonly admin: number }

  /** @param upstreamPort where the configuration sends requests. */
  static async create(upstreamPort: number): Promise<KeyOwner> {
    const owner = new KeyOwner({ upstream: upstreamPort, admin: await freePort() })
    await owner.#issueCa()
    return owner
  }

  private constructor(ports: { readonly upstream: number; readonly admin: number }) {
    this.#ports = ports
    mkdirSync(this.directory)
    this.token = this.softHsm.addToken('web')
    this.writeConfig()
  }

  /**
   * Two members on one token; the certificate is not there yet.
   * @param b how hsm-b reaches the token, if otherwise; with it, hsm-b alone is to sign.
   */
  writeConfig(more = '', b?: { readonly module: string; readonly pinFile: string }): void {
    const hsm = (module: string, pinFile: string): string =>
      `{ module: ${module}, token: web, pin: { file: ${pinFile} }, env: { SOFTHSM2_CONF: ${this.softHsm.conf} } }`
    const { module, pinFile } = { module: this.softHsm.module, pinFile: this.token.pinFile }
    writeFileSync(
      this.config,
      `hsms:
  hsm-a: ${hsm(module, pinFile)}
  hsm-b: ${hsm(b?.module ?? module, b?.pinFile ?? pinFile)}
certificates:
  - chain: www.pem # the site
    key: { uri: "pkcs11:object=www;type=private", hsms: ${b === undefined ? '[hsm-a, hsm-b]' : '[hsm-b]'} }
listeners:
  - { address: "127.0.0.1:0", protocol: http, upstream: app }
upstreams: { app: { servers: ["http://127.0.0.1:${this.#ports.upstream}"] } }
admin: { address: "127.0.0.1:${this.#ports.admin}" }
${more}`,
    )
  }

  /** From nothing to a configuration that can run. */
  async birth(): Promise<void> {
    await this.keys('generate', '--label', 'www')
    const csr = join(this.directory, 'www.csr')
    const names = ['--san', 'dns:localhost', '--san', 'dns:www.example.com']
    await this.keys('csr', '--label', 'www', ...names, '--out', csr)
    await this.certify(csr, 'first.pem')
    await this.keys('import-cert', '--chain', join(this.directory, 'first.pem'))
  }

  async keys(command: string, ...args: readonly string[]): Promise<Outcome> {
    const outcome = await sealgateCommand(['keys', command, '--config', this.config, ...args])
    expect({ command, status: outcome.status, stderr: outcome.stderr }).toEqual({
      command,
      status: 0,
      stderr: '',
    })
    return outcome
  }

  // biome-ignore lint/suspicious/noExplicitAny: JSON of several shapes, compared right away
  async keysJson(command: string, ...args: readonly string[]): Promise<any> {
    return JSON.parse((await this.keys(command, ...args, '--json')).stdout)
  }

  async refused(args: readonly string[], expected: number): Promise<string> {
    const { status, stderr } = await sealgateCommand(['keys', ...args, '--config', this.config])
    expect({ args, status, stderr }).toMatchObject({ args, status: expected })
    return stderr
  }

  /** The overlap has to end by itself; until then the command says so. */
  async untilRetired(...args: readonly string[]): Promise<string> {
    for (let tries = 0; tries < 20; tries++) {
      const { stdout } = await this.keys('rotate', '--retire', '--confirm', 'www', ...args)
      if (!stdout.includes('Waits for the end of the overlap')) return stdout
    }
    throw new Error('the overlap did not end')
  }

  /** As a CA does it, which knows nothing of HSMs. */
  async certify(csr: string, name: string, validity: readonly string[] = ['-days', '30']): Promise<void> {
    const ca = ['-CA', join(this.directory, 'ca.pem'), '-CAkey', join(this.directory, 'ca.key')]
    const out = join(this.directory, name)
    if (validity[0] === '-days')
      await openssl(
        'x509',
        '-req',
        '-in',
        csr,
        ...ca,
        '-copy_extensions',
        'copyall',
        ...validity,
        '-out',
        out,
      )
    else await this.#certifyBetween(csr, out, validity)
  }

  /** `openssl x509` has no start date before 3.4; `openssl ca` has. */
  async #certifyBetween(
    csr: string,
    out: string,
    [, from = '', , to = '']: readonly string[],
  ): Promise<void> {
    const conf = join(this.directory, 'ca.cnf')
    writeFileSync(join(this.directory, 'index.txt'), '')
    writeFileSync(
      conf,
      `[ca]\ndefault_ca=own\n[own]\ndatabase=${join(this.directory, 'index.txt')}\nnew_certs_dir=${this.directory}\nrand_serial=yes\ndefault_md=sha256\npolicy=any\ncopy_extensions=copyall\n[any]\ncommonName=optional\n`,
    )
    const ca = ['-cert', join(this.directory, 'ca.pem'), '-keyfile', join(this.directory, 'ca.key')]
    await openssl(
      'ca',
      '-batch',
      '-notext',
      '-config',
      conf,
      ...ca,
      '-in',
      csr,
      '-startdate',
      from,
      '-enddate',
      to,
      '-out',
      out,
    )
  }

  requestFile(): string {
    const name = readdirSync(this.directory).find((name) => /^www\.\d{8}\.csr$/.test(name))
    expect(name).toBeDefined()
    return join(this.directory, name ?? '')
  }

  async #issueCa(): Promise<void> {
    const out = ['-keyout', join(this.directory, 'ca.key'), '-out', join(this.directory, 'ca.pem')]
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    await openssl('req', '-x509', ...key, '-subj', '/CN=test CA', '-days', '30', ...out)
  }

  [Symbol.dispose](): void {
    this.softHsm.remove()
  }
}

async function openssl(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runTool('openssl', args)
  expect({ args, status, stderr }).toMatchObject({ args, status: 0 })
  return stdout
}

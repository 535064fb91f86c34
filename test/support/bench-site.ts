/** Two HSMs with the same keys and a configuration for them, as `sealgate bench` is given it. */

import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Faults } from './p11-faults.ts'
import { httpServers, Site } from './site.ts'

export class BenchSite implements Disposable {
  readonly site = new Site()
  readonly directory = this.site.directory
  /** In front of hsm-b. */
  readonly faults = new Faults(this.site.softHsm, 'hsm-b')
  /** A configuration with hsm-a and hsm-b, an EC and an RSA key in both. */
  readonly config = join(this.directory, 'bench.yaml')
  readonly #second = this.site.softHsm.addToken('second')

  constructor() {
    const { token } = this.site
    const keys = [
      { label: 'bench-ec', id: 'e1', ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) },
      { label: 'bench-rsa', id: 'e2', ...generateKeyPairSync('rsa', { modulusLength: 2048 }) },
    ]
    const certificates = keys.map(({ label, id, privateKey, publicKey }) => {
      const pkcs8Pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
      for (const each of [token, this.#second]) each.importKey({ label, id, pkcs8Pem })
      const spki = publicKey.export({ type: 'spki', format: 'der' })
      return this.site.certificateFor({ label, spki, hsms: ['hsm-a', 'hsm-b'] })
    })
    const { module, env } = this.faults.options
    const second = { module, env, token: this.#second.label, pin: { file: this.#second.pinFile } }
    this.write(this.config, { 'hsm-a': this.site.member(), 'hsm-b': second }, certificates)
  }

  /** The same with another PIN for hsm-b. @returns its file. */
  configWithPin(pin: string): string {
    const file = join(this.directory, 'wrong-pin.yaml')
    const pinFile = join(this.directory, 'wrong.pin')
    writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 })
    const { module, env } = this.faults.options
    const hsm = { module, env, token: this.#second.label, pin: { file: pinFile } }
    const certificate = this.site.certificate({ hsms: ['hsm-b'] })
    this.write(file, { 'hsm-b': hsm }, [certificate])
    return file
  }

  /** SoftHSM counts wrong PINs until a right one; who has given one makes it forget. */
  forgiveWrongPins(): void {
    this.#second.tool(['--login', '--pin', this.#second.pin, '--list-objects'])
  }

  /** What must not be seen anywhere. */
  get pins(): readonly string[] {
    return [this.site.token.pin, this.#second.pin]
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  write(file: string, hsms: object, certificates: readonly object[]): void {
    const listeners = [{ address: '127.0.0.1:0', protocol: 'http', upstream: 'app' }]
    const upstreams = { app: { servers: httpServers([9]) } }
    writeFileSync(file, JSON.stringify({ hsms, certificates, listeners, upstreams }, null, 2))
  }

  [Symbol.dispose](): void {
    this.site[Symbol.dispose]()
  }
}

/** Varnish as a server that understands PROXY v2 with all its TLVs: it answers with what it was told. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { freePort } from './free-port.ts'

export class Varnish implements AsyncDisposable {
  readonly port: number
  readonly #child: ChildProcess
  readonly #directory: string

  private constructor(port: number, directory: string) {
    this.port = port
    this.#directory = directory
    const configuration = join(directory, 'default.vcl')
    writeFileSync(configuration, VCL)
    const address = `127.0.0.1:${port},PROXY`
    // Also as root it stays who we are, or it could not read its own folder.
    const storage = ['-s', 'malloc,8m', '-j', 'none']
    this.#child = spawn(
      'varnishd',
      ['-F', '-n', join(directory, 'run'), '-a', address, '-f', configuration, ...storage],
      {
        stdio: 'ignore',
      },
    )
  }

  /** @throws when it is not installed or does not start. */
  static async start(): Promise<Varnish> {
    const varnish = new Varnish(await freePort(), mkdtempSync(join(tmpdir(), 'sealgate-varnish-')))
    try {
      await varnish.#started()
    } catch (error) {
      await varnish[Symbol.asyncDispose]()
      throw error
    }
    return varnish
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.pid !== undefined && this.#child.exitCode === null) {
      const closed = once(this.#child, 'close')
      this.#child.kill('SIGTERM')
      await closed
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async #started(): Promise<void> {
    const failed = once(this.#child, 'exit').then(
      () => new Error('varnishd ends at once'),
      (cause: unknown) => new Error('varnishd is needed: apt-get install varnish', { cause }),
    )
    let failure: Error | undefined
    void failed.then((error) => {
      failure = error
    })
    await vi.waitUntil(async () => failure !== undefined || (await isListening(this.port)), START)
    if (failure !== undefined) throw failure
  }
}

/** A compiler turns it into machine code first. */
const START = { timeout: 20_000, interval: 50 }

const VCL = `vcl 4.1;
import proxy;
backend none none;
sub vcl_recv { return (synth(200)); }
sub vcl_synth {
  set resp.http.client = client.ip;
  set resp.http.alpn = proxy.alpn();
  set resp.http.authority = proxy.authority();
  set resp.http.is-ssl = proxy.is_ssl();
  set resp.http.shown-now = proxy.client_has_cert_conn();
  set resp.http.shown-ever = proxy.client_has_cert_sess();
  set resp.http.verify = proxy.ssl_verify_result();
  set resp.http.version = proxy.ssl_version();
  set resp.http.cipher = proxy.ssl_cipher();
  set resp.http.cn = proxy.client_cert_cn();
  set resp.http.signature = proxy.cert_sign();
  set resp.http.key = proxy.cert_key();
  return (deliver);
}
`

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/**
 * What the upstream is told about the client: X-Forwarded-For, -Proto, -Host and Forwarded (RFC 7239), and who
 * its certificate says it is (client-fields.ts).
 *
 * One instance per connection. Nothing of what the client claims itself is kept: Sealgate is the first hop
 * that can know.
 */

import { removeReserved } from './client-fields.ts'

export class Forwarding {
  readonly #peer: string
  readonly #node: string
  readonly #client: readonly string[]
  readonly #reserved: ReadonlySet<string>
  #host: string | undefined
  #forwarded = ''

  /**
   * @param peer IP address of the client.
   * @param client flat name/value list about its certificate.
   * @param reserved lower-case names of fields that only we may send.
   */
  constructor(peer: string, client: readonly string[] = [], reserved: ReadonlySet<string> = NOTHING) {
    this.#client = client
    this.#reserved = reserved
    // An IPv4 client on a dual-stack listener is an IPv4 client.
    this.#peer = peer.startsWith('::ffff:') && peer.includes('.') ? peer.slice('::ffff:'.length) : peer
    this.#node = this.#peer.includes(':') ? `"[${this.#peer}]"` : this.#peer
  }

  /**
   * @param headers flat name/value list; appended to.
   * @param host checked Host of the request; empty when there is none.
   */
  append(headers: string[], host: string): void {
    if (this.#reserved.size > 0) removeReserved(headers, this.#reserved)
    headers.push('x-forwarded-for', this.#peer, 'x-forwarded-proto', 'https')
    if (host !== '') headers.push('x-forwarded-host', host)
    headers.push('forwarded', this.#forwardedFor(host))
    for (const text of this.#client) headers.push(text)
  }

  /** Requests of one connection nearly always name the same host. */
  #forwardedFor(host: string): string {
    if (host !== this.#host) {
      this.#host = host
      // A checked host has neither quotes nor backslashes in it: it is a quoted-string as it stands.
      this.#forwarded =
        host === '' ? `for=${this.#node};proto=https` : `for=${this.#node};host="${host}";proto=https`
    }
    return this.#forwarded
  }
}

const NOTHING: ReadonlySet<string> = new Set()

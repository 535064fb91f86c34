/**
 * What the upstream is told about the client: X-Forwarded-For, -Proto, -Host and Forwarded (RFC 7239).
 *
 * One instance per connection. Nothing of what the client claims itself is kept: Sealgate is the first hop
 * that can know.
 */

export class Forwarding {
  readonly #peer: string
  readonly #node: string
  #host: string | undefined
  #forwarded = ''

  /** @param peer IP address of the client. */
  constructor(peer: string) {
    // An IPv4 client on a dual-stack listener is an IPv4 client.
    this.#peer = peer.startsWith('::ffff:') && peer.includes('.') ? peer.slice('::ffff:'.length) : peer
    this.#node = this.#peer.includes(':') ? `"[${this.#peer}]"` : this.#peer
  }

  /**
   * @param headers flat name/value list; appended to.
   * @param host checked Host of the request; empty when there is none.
   */
  append(headers: string[], host: string): void {
    headers.push('x-forwarded-for', this.#peer, 'x-forwarded-proto', 'https')
    if (host !== '') headers.push('x-forwarded-host', host)
    headers.push('forwarded', this.#forwardedFor(host))
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

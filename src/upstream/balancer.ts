/**
 * Round-robin over the servers of an upstream.
 *
 * A server that could not be reached rests for a while. Resting is a preference and no verdict: when only
 * resting servers are left they are tried all the same, so a server that has come back serves at once.
 */

export class Balancer<T> {
  readonly #members: readonly Member<T>[]
  readonly #restMs: number
  #next = 0

  constructor(servers: readonly T[], options: { readonly restMs: number }) {
    this.#members = servers.map((server) => ({ server, restsUntilMs: 0 }))
    this.#restMs = options.restMs
  }

  get size(): number {
    return this.#members.length
  }

  /** The server whose turn it is among those not yet tried; undefined when all were. */
  pick(tried: readonly T[]): T | undefined {
    return this.pickAwake(tried) ?? this.#inTurn((member) => !tried.includes(member.server))?.server
  }

  /** The same, but none that rests. */
  pickAwake(tried: readonly T[]): T | undefined {
    const member = this.#inTurn((candidate) => !tried.includes(candidate.server) && !rests(candidate))
    if (member === undefined) return undefined
    this.#next = this.#members.indexOf(member) + 1
    return member.server
  }

  /** Every server once, in the order in which one connection should try them. */
  order(): T[] {
    const order: T[] = []
    for (let server = this.pick(order); server !== undefined; server = this.#pickAfter(order)) {
      order.push(server)
    }
    return order
  }

  markFailed(server: T): void {
    const member = this.#members.find((candidate) => candidate.server === server)
    if (member !== undefined) member.restsUntilMs = performance.now() + this.#restMs
  }

  #inTurn(suits: (member: Member<T>) => boolean): Member<T> | undefined {
    const count = this.#members.length
    for (let step = 0; step < count; step++) {
      const member = this.#members[(this.#next + step) % count]
      if (member !== undefined && suits(member)) return member
    }
    return undefined
  }

  /** The fallbacks of one connection do not use up the turns of the next ones. */
  #pickAfter(tried: readonly T[]): T | undefined {
    const turn = this.#next
    const server = this.pick(tried)
    this.#next = turn
    return server
  }
}

interface Member<T> {
  readonly server: T
  restsUntilMs: number
}

// The clock is read only for a server that has failed before: picking is on the path of every request.
function rests<T>(member: Member<T>): boolean {
  return member.restsUntilMs !== 0 && performance.now() < member.restsUntilMs
}

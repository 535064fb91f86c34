/**
 * The numbers by which C++ asks for keys. No number ever comes to mean another key: a handshake that began before the
 * credentials were swapped is signed for with the key of the certificate that it has sent.
 */

import type { Credentials } from './offers.ts'

type Key = Credentials['key']

export class KeyIds {
  readonly #ids = new Map<Key, number>()
  readonly #keys = new Map<number, Key>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #next = 0
  #used: ReadonlySet<Key> = new Set()

  /**
   * Keys of before that are not used any more keep their numbers for a while.
   *
   * @param lingerMs as long as a handshake may take.
   * @returns the number of each key; the same key has the same number.
   */
  use(keys: readonly Key[], lingerMs: number): readonly number[] {
    const left = [...this.#used].filter((key) => !keys.includes(key))
    this.#used = new Set(keys)
    if (left.length > 0) {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        for (const key of left) this.#forget(key)
      }, lingerMs)
      this.#timers.add(timer.unref())
    }
    return keys.map((key) => this.#idOf(key))
  }

  /** undefined: nobody has this number, or not any more. */
  key(id: number): Key | undefined {
    return this.#keys.get(id)
  }

  /** Idempotent. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
  }

  #idOf(key: Key): number {
    const known = this.#ids.get(key)
    if (known !== undefined) return known
    const id = this.#next++
    this.#ids.set(key, id)
    this.#keys.set(id, key)
    return id
  }

  #forget(key: Key): void {
    const id = this.#ids.get(key)
    // It may have come back meanwhile.
    if (id === undefined || this.#used.has(key)) return
    this.#ids.delete(key)
    this.#keys.delete(id)
  }
}

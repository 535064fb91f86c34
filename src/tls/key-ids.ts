/**
 * The numbers by which C++ asks for keys. No number ever comes to mean another key: a handshake that began before the
 * credentials were swapped is signed for with the key of the certificate that it has sent.
 */

import type { Credentials } from './offers.ts'

type Key = Credentials['key']

export class KeyIds {
  readonly #ids = new Map<Key, number>()
  readonly #keys = new Map<number, Key>()
  /** Of keys that are not used any more. */
  readonly #lingering = new Map<Key, NodeJS.Timeout>()
  #next = 0
  #used: ReadonlySet<Key> = new Set()

  /**
   * Keys of before that are not used any more keep their numbers for a while.
   *
   * @param lingerMs as long as a handshake may take.
   * @returns the number of each key; the same key has the same number.
   */
  use(keys: readonly Key[], lingerMs: number): readonly number[] {
    for (const key of this.#used) if (!keys.includes(key)) this.#linger(key, lingerMs)
    this.#used = new Set(keys)
    for (const key of keys) this.#stay(key)
    return keys.map((key) => this.#idOf(key))
  }

  /** undefined: nobody has this number, or not any more. */
  key(id: number): Key | undefined {
    return this.#keys.get(id)
  }

  /** Idempotent. */
  close(): void {
    for (const timer of this.#lingering.values()) clearTimeout(timer)
  }

  #idOf(key: Key): number {
    const known = this.#ids.get(key)
    if (known !== undefined) return known
    const id = this.#next++
    this.#ids.set(key, id)
    this.#keys.set(id, key)
    return id
  }

  #linger(key: Key, lingerMs: number): void {
    const timer = setTimeout(() => this.#forget(key), lingerMs)
    this.#lingering.set(key, timer.unref())
  }

  /** It may have come back: what it was given to linger is over, and begins anew when it leaves again. */
  #stay(key: Key): void {
    clearTimeout(this.#lingering.get(key))
    this.#lingering.delete(key)
  }

  #forget(key: Key): void {
    this.#lingering.delete(key)
    const id = this.#ids.get(key)
    if (id === undefined) return
    this.#ids.delete(key)
    this.#keys.delete(id)
  }
}

/**
 * Keys whose trouble is their own: the whole ladder was climbed for them, they fail, and others of the token sign.
 *
 * To climb for them again would take the others out of service every time. They may be tried like all others, but what
 * they fail with says nothing of the token until they have signed once more. Pure.
 */
export class KeysAside {
  readonly #aside = new Set<number>()

  signed(key: number): void {
    if (this.#aside.size > 0) this.#aside.delete(key)
  }

  /**
   * @param trouble.climbed no rung is left but to open the token again and again.
   * @param trouble.usable all keys that the token has; when none of them signs, it is the token.
   * @returns true when there is nothing to climb for.
   */
  failed(key: number, trouble: { readonly climbed: boolean; readonly usable: readonly number[] }): boolean {
    if (trouble.climbed) this.#aside.add(key)
    return this.#aside.has(key) && trouble.usable.some((other) => !this.#aside.has(other))
  }
}

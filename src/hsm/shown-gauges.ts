/**
 * Gauges that can be kept out of sight: while the configuration changes, two members of one name, or two states of one
 * key, live beside each other, and only one of them is what an operator should see.
 */

export interface Settable {
  set(value: number): void
}

export class ShownGauges {
  #shown = false
  readonly #latest = new Map<Settable, number>()

  /** @returns what sets the gauge while it is shown, and remembers the value while it is not. */
  of(gauge: Settable): Settable {
    return {
      set: (value) => {
        this.#latest.set(gauge, value)
        if (this.#shown) gauge.set(value)
      },
    }
  }

  get shown(): boolean {
    return this.#shown
  }

  /** Idempotent, and it sets every gauge again: somebody else may have had it meanwhile. */
  show(): void {
    this.#shown = true
    for (const [gauge, value] of this.#latest) gauge.set(value)
  }

  /** Removing the label sets is left to the owner. */
  hide(): void {
    this.#shown = false
  }
}

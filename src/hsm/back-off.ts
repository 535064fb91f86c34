/** How long to wait before the next try: doubling, capped, and jittered so that members do not come in step. */
export class BackOff {
  readonly #firstMs: number
  readonly #capMs: number
  #nextMs: number

  constructor(options: { firstMs: number; capMs: number }) {
    this.#firstMs = options.firstMs
    this.#capMs = options.capMs
    this.#nextMs = options.firstMs
  }

  /** Between half and all of the current step, which then doubles. */
  next(): number {
    const stepMs = this.#nextMs
    this.#nextMs = Math.min(stepMs * 2, this.#capMs)
    return stepMs * (0.5 + Math.random() / 2)
  }

  /** It works again: the next trouble starts from the beginning. */
  reset(): void {
    this.#nextMs = this.#firstMs
  }
}

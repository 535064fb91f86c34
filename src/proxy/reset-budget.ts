/** How many of its own streams a client may reset, or have reset: browsers cancel some, attackers nothing else. */

const BURST = 200
const PER_SECOND = 20

export class ResetBudget {
  #left = BURST
  #refilledAtMs = performance.now()

  /** @returns false: the budget is used up. */
  spend(): boolean {
    const nowMs = performance.now()
    this.#left = Math.min(BURST, this.#left + ((nowMs - this.#refilledAtMs) / 1000) * PER_SECOND)
    this.#refilledAtMs = nowMs
    if (this.#left < 1) return false
    this.#left -= 1
    return true
  }
}

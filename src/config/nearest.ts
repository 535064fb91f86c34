/** "Did you mean": the known word that is closest to a mistyped one. */

/**
 * @returns the candidate with the smallest edit distance, if that is small enough to be a slip of the finger:
 *   at most a third of the word, at least one. `-` and `_` and upper and lower case count as equal.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = fold(word)
  let best: { candidate: string; distance: number } | undefined
  for (const candidate of candidates) {
    const known = fold(candidate)
    const distance = editDistance(wanted, known)
    const length = Math.max(wanted.length, known.length)
    const limit = Math.max(1, Math.floor(length / 3))
    // Of two single letters, every one is "one edit" from the other.
    if (distance <= limit && distance < length && (best === undefined || distance < best.distance))
      best = { candidate, distance }
  }
  return best?.candidate
}

/** `; did you mean "web"?`, or nothing. */
export function suggestion(word: string, candidates: Iterable<string>): string {
  const candidate = nearest(word, candidates)
  return candidate === undefined ? '' : `; did you mean "${candidate}"?`
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(
        at(previous, column) + 1,
        at(current, column - 1) + 1,
        at(previous, column - 1) + (same ? 0 : 1),
      )
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) cost = Math.min(cost, at(beforePrevious, column - 2) + 1)
      current.push(cost)
    }
    beforePrevious = previous
    previous = current
  }
  return at(previous, b.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}

function fold(word: string): string {
  // A word of a megabyte is no slip of the finger, and the distance is quadratic.
  return word.slice(0, 64).toLowerCase().replaceAll('-', '_')
}

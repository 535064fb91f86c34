/** Axes: from values to places, and where to put a tick. */

export interface Scale {
  /** 0 at the start of the axis, 1 at its end. */
  place(value: number): number
  readonly ticks: readonly number[]
}

/** From 0; ends at a round number. */
export function linearScale(largest: number): Scale {
  const step = roundStep(Math.max(largest, 1) / WANTED_TICKS)
  const count = Math.max(1, Math.ceil(largest / step - 1e-9))
  const end = count * step
  return {
    place: (value) => value / end,
    ticks: Array.from({ length: count + 1 }, (_, index) => index * step),
  }
}

/** Decades, with ticks at 1, 2 and 5 where there are few of them. */
export function logScale(smallest: number, largest: number): Scale {
  const low = Math.max(smallest, Number.MIN_VALUE)
  const first = Math.floor(Math.log10(low))
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(largest, low))))
  const factors = last - first > MANY_DECADES ? [1] : [1, 2, 5]
  const all = Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index)).flatMap(
    (decade) => factors.map((factor) => Number((decade * factor).toPrecision(3))),
  )
  // From the last tick below to the first one above: no empty decade.
  const from = all.findLast((tick) => tick <= low) ?? low
  const to = all.find((tick) => tick >= largest && tick > from) ?? largest
  const span = Math.log10(to / from)
  return {
    place: (value) => Math.log10(Math.max(value, from) / from) / span,
    ticks: all.filter((tick) => tick >= from && tick <= to),
  }
}

/** Doublings at equal distances; every value that is measured is a tick. */
export function stepScale(values: readonly number[]): Scale {
  const ticks = [...new Set(values)].sort((a, b) => a - b)
  const low = ticks[0] ?? 1
  const span = Math.log2((ticks.at(-1) ?? low) / low)
  return { place: (value) => (span === 0 ? 0.5 : Math.log2(value / low) / span), ticks }
}

function roundStep(step: number): number {
  const decade = 10 ** Math.floor(Math.log10(step))
  return ([1, 2, 2.5, 5].find((factor) => factor * decade >= step) ?? 10) * decade
}

const WANTED_TICKS = 5
const MANY_DECADES = 3

/** A line plot as inline SVG: no script and nothing from elsewhere; what a point is, its tooltip says. */

import { html, type Markup, NOTHING } from './markup.ts'
import type { Scale } from './scale.ts'

export interface PlotLine {
  readonly name: string
  /** Selects colour and marker, 0 to 5. */
  readonly style: number
  readonly dashed: boolean
  readonly points: readonly PlotPoint[]
}

export interface PlotPoint {
  readonly x: number
  readonly y: number
  /** Half the height of the error bar. */
  readonly error?: number
  readonly tooltip: string
  /** Marked with a ring. */
  readonly ringed?: boolean
}

export interface PlotOptions {
  readonly id: string
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  readonly x: Scale
  readonly y: Scale
  readonly xTickText: (value: number) => string
  readonly yTickText: (value: number) => string
  readonly lines: readonly PlotLine[]
}

export function plot(options: PlotOptions): Markup {
  const { id, title, xLabel, yLabel, lines } = options
  const described = `${title}: ${yLabel} against ${xLabel}, ${lines.map(({ name }) => name).join(', ')}`
  return html`<figure class="plot" id="${id}">
<figcaption><h3>${title}</h3>${legend(lines)}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${described}">
${grid(options)}
<text class="axis-label x-label" x="${LEFT + INNER_WIDTH / 2}" y="${HEIGHT - 6}" text-anchor="middle">${xLabel}</text>
<text class="axis-label y-label" transform="translate(15 ${TOP + INNER_HEIGHT / 2}) rotate(-90)" text-anchor="middle">${yLabel}</text>
${lines.map((line) => lineMarkup(line, options))}
</svg>
</figure>`
}

function grid({ x, y, xTickText, yTickText }: PlotOptions): readonly Markup[] {
  const rows = y.ticks.map((tick) => {
    const at = top(y, tick)
    return html`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/><text class="tick" x="${LEFT - 7}" y="${at + 4}" text-anchor="end">${yTickText(tick)}</text>`
  })
  const shown = x.ticks.filter((tick, index) => isRoomFor(x, tick, x.ticks[index + 1]))
  const columns = shown.map((tick) => {
    const at = left(x, tick)
    return html`<line class="mark" x1="${at}" x2="${at}" y1="${TOP + INNER_HEIGHT}" y2="${TOP + INNER_HEIGHT + 4}"/><text class="tick" x="${at}" y="${TOP + INNER_HEIGHT + 18}" text-anchor="middle">${xTickText(tick)}</text>`
  })
  return [...rows, ...columns]
}

/** A label that the next one would overlap is left out; the last one never is. */
function isRoomFor(x: Scale, tick: number, next: number | undefined): boolean {
  return next === undefined || left(x, next) - left(x, tick) >= LABEL_WIDTH
}

function lineMarkup({ name, style, dashed, points }: PlotLine, { x, y }: PlotOptions): Markup {
  const path = points.map((point) => `${left(x, point.x)},${top(y, point.y)}`).join(' ')
  const bars = points.map(({ x: value, y: middle, error = 0 }) => {
    if (error <= 0) return NOTHING
    const at = left(x, value)
    return html`<line class="error" x1="${at}" x2="${at}" y1="${top(y, Math.max(0, middle - error))}" y2="${top(y, middle + error)}"/>`
  })
  const dots = points.map((point) => {
    const cx = left(x, point.x)
    const cy = top(y, point.y)
    const ring = point.ringed ? html`<circle class="knee" cx="${cx}" cy="${cy}" r="8"/>` : NOTHING
    return html`${ring}<circle class="point" cx="${cx}" cy="${cy}" r="3.6"><title>${name}, ${point.tooltip}</title></circle>`
  })
  return html`<g class="line colour-${style % COLOURS} ${dashed ? 'dashed' : 'solid'}" data-line="${name}"><polyline points="${path}"/>${bars}${dots}</g>`
}

function legend(lines: readonly PlotLine[]): Markup {
  const entries = lines.map(
    ({ name, style, dashed }) =>
      html`<li class="colour-${style % COLOURS} ${dashed ? 'dashed' : 'solid'}"><svg viewBox="0 0 26 10" aria-hidden="true"><line x1="1" x2="25" y1="5" y2="5"/><circle class="point" cx="13" cy="5" r="3.4"/></svg>${name}</li>`,
  )
  return html`<ul class="legend">${entries}</ul>`
}

function left(x: Scale, value: number): number {
  return rounded(LEFT + x.place(value) * INNER_WIDTH)
}

function top(y: Scale, value: number): number {
  return rounded(TOP + (1 - Math.min(1, Math.max(0, y.place(value)))) * INNER_HEIGHT)
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10
}

const WIDTH = 460
const HEIGHT = 320
const LEFT = 88
const RIGHT = 28
const TOP = 12
const INNER_WIDTH = WIDTH - LEFT - RIGHT
const INNER_HEIGHT = HEIGHT - TOP - 46
const LABEL_WIDTH = 36
const COLOURS = 6

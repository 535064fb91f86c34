import { expect, test } from 'vitest'
import { signReportHtml } from '../../../src/bench/report/html.ts'
import { linearScale, logScale, stepScale } from '../../../src/bench/report/scale.ts'
import { report, series, step } from './support.ts'

test('names, notes and URIs of a report are text and never markup', () => {
  const evil = '<script>alert(1)</script>"\'&'
  const page = signReportHtml(
    report({ notes: [evil], series: [series({ key: evil, members: [evil] })], hsms: [] }),
    { resumed: 0.7 },
  )

  expect(page).not.toContain('<script')
  expect(page).toContain('&#60;script&#62;')
})

test('a report without any measurement is a page that says so', () => {
  const nothing = report({
    complete: false,
    notes: ['hsm-a went away'],
    series: [series({ steps: [], knee: null })],
  })

  const page = signReportHtml(nothing, { resumed: 0 })

  expect(page).toContain('hsm-a went away')
  expect(page).toContain('Nothing was measured.')
  expect(page).not.toMatch(/NaN|Infinity|undefined/)
})

test('one step, and steps in which nothing was signed, still make plots without a hole', () => {
  const steps = [step(1, 1000), step(2, 0, { errors: { CKR_DEVICE_ERROR: 5 } })]

  expect(signReportHtml(report({ series: [series({ steps })] }), { resumed: 0.5 })).not.toMatch(
    /NaN|Infinity/,
  )
})

test('axes end at round numbers that hold all values', () => {
  expect(linearScale(9636).ticks).toEqual([0, 2000, 4000, 6000, 8000, 10_000])
  expect(logScale(0.32, 10.9).ticks).toEqual([0.2, 0.5, 1, 2, 5, 10, 20])
  expect(logScale(0.012, 870).ticks).toEqual([0.01, 0.1, 1, 10, 100, 1000])
  expect(stepScale([4, 1, 2, 2]).ticks).toEqual([1, 2, 4])
  for (const scale of [linearScale(9636), logScale(0.32, 10.9)]) {
    const places = scale.ticks.map((tick) => scale.place(tick))
    expect(places.at(0)).toBe(0)
    expect(places.at(-1)).toBeCloseTo(1)
    expect(places).toEqual([...places].sort((a, b) => a - b))
  }
})

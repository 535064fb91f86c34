import { expect, test } from 'vitest'
import { compareReports, regressions } from '../../../src/bench/compare/compare.ts'
import { comparisonText } from '../../../src/bench/compare/text.ts'
import { report, series, step } from './support.ts'

const before = report()

function slowedTo(share: number, rateError = 0.005) {
  const steps = before.series[0]?.steps ?? []
  const slowed = steps.map(({ sessions, rate }) =>
    step(sessions, rate * share, { rateError: rate * share * rateError }),
  )
  return report({ series: [series({ steps: slowed })] })
}

test('a report compared with itself is the same everywhere', () => {
  const { steps, knees, notes } = compareReports(before, before)

  expect(steps.map(({ verdict }) => verdict)).toEqual(['same', 'same', 'same', 'same', 'same'])
  expect(knees).toMatchObject([{ sessions: 4, ratio: 1, verdict: 'same' }])
  expect(notes).toEqual([])
})

test('a fifth less is slower and fails a limit of 0.9, a fifth more is faster and does not', () => {
  const slower = compareReports(before, slowedTo(0.8))
  const faster = compareReports(before, slowedTo(1.2))

  expect(slower.knees).toMatchObject([{ verdict: 'slower', ratio: expect.closeTo(0.8, 5) }])
  expect(regressions(slower, 0.9)).toHaveLength(1)
  expect(regressions(slower, 0.7)).toHaveLength(0)
  expect(faster.knees).toMatchObject([{ verdict: 'faster' }])
  expect(regressions(faster, 0.9)).toHaveLength(0)
})

test('what chance explains is no change and no regression', () => {
  const noisy = compareReports(before, slowedTo(0.85, 0.12))

  expect(noisy.knees).toMatchObject([{ verdict: 'same' }])
  expect(regressions(noisy, 0.9)).toEqual([])
})

test('what only one report has, and machines that differ, are named', () => {
  const machine = { ...before.machine, processor: 'Other CPU' }
  const rsa = series({ scheme: 'rsa_pss_rsae_sha256', keyType: 'rsa' })
  const { notes } = compareReports(before, report({ machine, series: [...before.series, rsa] }))

  expect(notes).toEqual([
    'only in the second: rsa_pss_rsae_sha256, hsm-a, pool',
    'other machines: Test CPU (2), Other CPU (2)',
  ])
})

test('two keys of one type in one HSM are each compared with themselves', () => {
  const large = series({ key: 'pkcs11:object=large', steps: [step(1, 100), step(2, 110)] })
  const both = report({ series: [...before.series, large] })
  const slower = series({ key: large.key, steps: [step(1, 50), step(2, 55)] })

  expect(compareReports(both, both).knees).toMatchObject([{ verdict: 'same' }, { verdict: 'same' }])
  const changed = compareReports(both, report({ series: [slower, ...before.series] }))
  expect(changed.knees).toMatchObject([{ verdict: 'same' }, { verdict: 'slower', before: 110, after: 55 }])
  expect(changed.notes).toEqual([])
})

test('an HSM that has signed nothing since is slower, and fails every limit', () => {
  const dead = report({ series: [series({ steps: [step(1, 0)], knee: null })] })
  const comparison = compareReports(before, dead)

  expect(regressions(comparison, 0.1)).toMatchObject([{ before: 2000, after: 0, verdict: 'slower' }])
  expect(comparisonText(comparison)).not.toContain('NaN')
})

test('from nothing to something is faster, and has no ratio', () => {
  const dead = report({ series: [series({ steps: [step(1, 0), step(2, 0)], knee: null })] })
  const comparison = compareReports(dead, before)

  expect(comparison.steps.map(({ verdict }) => verdict)).toEqual(['faster', 'faster'])
  expect(comparisonText(comparison)).not.toContain('NaN')
  expect(compareReports(dead, dead).steps).toMatchObject([{ verdict: 'same' }, { verdict: 'same' }])
})

test('reports with nothing in common are told so', () => {
  const other = report({ series: [series({ members: ['hsm-z'] })] })

  expect(comparisonText(compareReports(before, other))).toContain('no step in common')
})

// @ts-check
/** What vitest has written of a run. */

import { existsSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { root } from './paths.mjs'

/**
 * @typedef {object} TestFile of `testResults` in vitest's JSON
 * @property {string} name
 * @property {string} status
 * @property {string} message
 * @property {readonly { fullName: string, status: string, failureMessages: readonly string[] }[]} assertionResults
 */

/**
 * @param {string} report
 * @param {boolean} leftOut whether the user has left tests out; else one that did not run proves nothing, and failed
 * @returns {{ passed: number, failures: string[] }} a line for each that failed: file, name, the first line of why
 */
export function readReport(report, leftOut) {
  if (!existsSync(report)) return { passed: 0, failures: ['no report'] }
  /** @type {{ numPassedTests: number, testResults: readonly TestFile[] }} */
  const { numPassedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'))
  return { passed: numPassedTests, failures: testResults.flatMap((file) => failuresOf(file, leftOut)) }
}

/**
 * @param {TestFile} file
 * @param {boolean} leftOut
 */
function failuresOf({ name, status, message, assertionResults }, leftOut) {
  const path = relative(root, name)
  const failed = assertionResults.filter(
    (test) => test.status === 'failed' || !(leftOut || test.status === 'passed'),
  )
  // A file that does not load has no test that could say so.
  if (failed.length === 0 && status === 'failed') return [`${path}: ${firstLine(message)}`]
  return failed.map(
    (test) => `${path} > ${test.fullName}: ${firstLine(test.failureMessages[0] ?? test.status)}`,
  )
}

/** @param {string} text */
function firstLine(text) {
  return text.split('\n', 1)[0] ?? ''
}

// @ts-check
/**
 * Figures that were measured, row by row, each with its day, machine and length: a run of some rows replaces these and
 * leaves the others as they were.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises'

/** Published: the tables of both README.md are made from it. */
export const LATEST = new URL('results/latest.json', import.meta.url)
/** Of the last run, whatever it was worth. */
export const LAST_RUN = new URL('results/last-run.json', import.meta.url)

/**
 * @typedef {object} Facts
 * @property {string} date YYYY-MM-DD
 * @property {string} machine
 * @property {number} seconds
 * @property {number} repeat
 *
 * @typedef {Facts & import('./rows/compare.mjs').Results} Measured
 *
 * @typedef {{ rows: Record<string, Measured> }} ResultsFile by the row's id
 */

/**
 * @param {URL} [file]
 * @returns {Promise<ResultsFile>} without rows when there is no such file
 */
export async function readResults(file = LATEST) {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { rows: {} }
    throw error
  }
}

/**
 * @param {ResultsFile} results
 * @param {URL | string} file
 */
export async function writeResults(results, file) {
  if (file instanceof URL) await mkdir(new URL('.', file), { recursive: true })
  await writeFile(file, `${JSON.stringify(results, null, 2)}\n`)
}

/**
 * @param {ResultsFile} before
 * @param {ResultsFile} measured
 * @returns {ResultsFile}
 */
export function mergeResults(before, measured) {
  return { rows: { ...before.rows, ...measured.rows } }
}

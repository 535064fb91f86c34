// @ts-check
/** Every row there is: whatever rows/ holds. A new one is a new file there, and nothing else. */

import { readdir } from 'node:fs/promises'

/** @typedef {import('./rows/compare.mjs').Row} Row */

/** Those that are published, in the order of their tables; others follow by their name. */
const ORDER = [
  'handshake-cpu',
  'hsm-latency',
  'http-requests',
  'tcp-relay',
  'idle-memory',
  'steady-under-flood',
]

/** @returns {Promise<readonly Row[]>} */
export async function allRows() {
  const folder = new URL('rows/', import.meta.url)
  const files = (await readdir(folder)).filter((name) => name.endsWith('.mjs')).sort()
  const modules = await Promise.all(files.map((name) => import(new URL(name, folder).href)))
  const rows = modules.flatMap((module) => Object.values(module).filter(isRow))
  const place = (/** @type {Row} */ { id }) => (ORDER.includes(id) ? ORDER.indexOf(id) : ORDER.length)
  return rows.sort((a, b) => place(a) - place(b))
}

/**
 * @param {readonly string[]} ids empty: all
 * @returns {Promise<readonly Row[]>}
 * @throws an Error that names those there are.
 */
export async function chooseRows(ids) {
  const rows = await allRows()
  const chosen = ids.map((id) => {
    const row = rows.find((candidate) => candidate.id === id)
    if (row === undefined)
      throw new Error(`no row ${id}; there are: ${rows.map((each) => each.id).join(', ')}`)
    return row
  })
  return chosen.length > 0 ? chosen : rows
}

/**
 * @param {unknown} value
 * @returns {value is Row}
 */
function isRow(value) {
  return typeof value === 'object' && value !== null && 'id' in value && 'run' in value && 'judge' in value
}

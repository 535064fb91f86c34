// @ts-check
/** Tables as the formatter of this repository leaves them, and their place in a file. */

import { readFile, writeFile } from 'node:fs/promises'

/**
 * @param {readonly string[]} head
 * @param {readonly ('left' | 'right')[]} alignment of each column
 * @param {readonly (readonly string[])[]} body
 * @returns {string[]} lines; columns as wide as their widest cell
 */
export function table(head, alignment, body) {
  const widths = head.map((title, column) =>
    Math.max(MIN_WIDTH, width(title), ...body.map((row) => width(row[column] ?? ''))),
  )
  const line = (/** @type {readonly string[]} */ cells) =>
    `| ${widths.map((wide, column) => padded(cells[column] ?? '', wide, alignment[column])).join(' | ')} |`
  const rule = widths.map((wide, column) =>
    alignment[column] === 'right' ? `${'-'.repeat(wide - 1)}:` : '-'.repeat(wide),
  )
  return [line(head), `| ${rule.join(' | ')} |`, ...body.map(line)]
}

/**
 * What stands between two marks, blank lines around it cut off.
 *
 * @param {string} text
 * @param {string} name of the marks: `<!-- name -->` and `<!-- /name -->`
 * @throws an Error when they are not there.
 */
export function between(text, name) {
  const { begin, end } = marks(text, name)
  return text.slice(begin, end).trim()
}

/**
 * @param {URL} file
 * @param {string} name
 * @param {string} markdown
 */
export async function replaceBetween(file, name, markdown) {
  const text = await readFile(file, 'utf8')
  const { begin, end } = marks(text, name)
  await writeFile(file, `${text.slice(0, begin)}\n\n${markdown.trim()}\n\n${text.slice(end)}`)
}

/**
 * @param {string} text
 * @param {string} name
 */
function marks(text, name) {
  const mark = `<!-- ${name} -->`
  const begin = text.indexOf(mark)
  const end = text.indexOf(`<!-- /${name} -->`)
  if (begin < 0 || end < begin) throw new Error(`no ${mark} … <!-- /${name} -->`)
  return { begin: begin + mark.length, end }
}

/**
 * @param {string} cell
 * @param {number} wide
 * @param {'left' | 'right' | undefined} alignment
 */
function padded(cell, wide, alignment) {
  const blanks = ' '.repeat(wide - width(cell))
  return alignment === 'right' ? blanks + cell : cell + blanks
}

/** @param {string} text */
function width(text) {
  return [...text].length
}

const MIN_WIDTH = 3

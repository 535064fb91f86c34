/** Text in columns, for people. */

/**
 * @param texts the first row is the heading. Labels of keys may be anybody's: what would move the cursor is shown escaped.
 * @returns lines, each with its newline.
 */
export function table(texts: readonly (readonly string[])[], indent = ''): string {
  const rows = texts.map((row) => row.map((cell) => cell.replaceAll(/\p{Cc}/gu, escaped)))
  const widths = rows.reduce<readonly number[]>(
    (widths, row) => row.map((cell, column) => Math.max(widths[column] ?? 0, [...cell].length)),
    [],
  )
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - [...cell].length))
      return `${indent}${cells.join('  ').trimEnd()}\n`
    })
    .join('')
}

function escaped(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`
}

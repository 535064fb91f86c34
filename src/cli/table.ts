/** Text in columns, for people. */

/** @param rows the first one is the heading. @returns lines, each with its newline. */
export function table(rows: readonly (readonly string[])[], indent = ''): string {
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

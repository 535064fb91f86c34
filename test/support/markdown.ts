/** Code blocks of a Markdown file, as a reader finds them. */

import { readFileSync } from 'node:fs'

export interface CodeBlock {
  /** What follows the backticks: language, then what the block is, e.g. `sh running`. */
  readonly info: string
  readonly text: string
  /** 1-based, of the opening backticks. */
  readonly line: number
}

export function codeBlocks(file: string): CodeBlock[] {
  const blocks: { info: string; text: string; line: number }[] = []
  let open: { info: string; text: string; line: number } | undefined
  for (const [index, line] of readFileSync(file, 'utf8').split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line)
    if (fence === null) {
      if (open !== undefined) open.text += `${line}\n`
    } else if (open === undefined) {
      open = { info: fence[1] ?? '', text: '', line: index + 1 }
    } else {
      blocks.push(open)
      open = undefined
    }
  }
  return blocks
}

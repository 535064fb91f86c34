/** A question to whoever sits there. */

import { once } from 'node:events'
import { createInterface } from 'node:readline/promises'

/** @returns the answer, empty when it was Ctrl-C or Ctrl-D; undefined when nobody sits there: standard input is no terminal. */
export async function ask(question: string): Promise<string | undefined> {
  if (!process.stdin.isTTY) return undefined
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  // Older Nodes leave the question open for ever then, newer ones reject it.
  const left = once(lines, 'close').then(() => undefined)
  try {
    const answer = await Promise.race([lines.question(question).catch(() => undefined), left])
    if (answer !== undefined) return answer.trim()
    process.stderr.write('\n')
    return ''
  } finally {
    lines.close()
  }
}

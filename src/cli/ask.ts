/** A question to whoever sits there. */

import { createInterface } from 'node:readline/promises'

/** @returns the answer; undefined when nobody sits there: standard input is no terminal. */
export async function ask(question: string): Promise<string | undefined> {
  if (!process.stdin.isTTY) return undefined
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await lines.question(question)).trim()
  } finally {
    lines.close()
  }
}

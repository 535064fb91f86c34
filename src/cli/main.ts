#!/usr/bin/env node
/** The `sealgate` command. */

import '../no-inspector.ts'
import { holdHup } from './early-hup.ts'
import { end } from './end.ts'
import { nodeProblem } from './oldest-node.ts'

/** Of sysexits.h. */
const EX_UNAVAILABLE = 69
const EX_IOERR = 74
const problem = nodeProblem(process.versions.node)
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`)
  process.exit(EX_UNAVAILABLE)
}

let lost: NodeJS.ErrnoException | undefined
// `| head` has seen enough: what is under way goes on to its end, and nobody is told.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') lost ??= error
})
process.stderr.on('error', () => {}) // nobody is left to be told

if (process.argv[2] === 'run') holdHup()
// Loading all of it takes most of a second on a small machine.
const { runProgram } = await import('./program.ts')
const status = await runProgram(process.argv.slice(2))
// A write that failed says so in a later turn.
await new Promise((resolve) => setImmediate(resolve))
if (lost !== undefined)
  process.stderr.write(
    `sealgate: standard output could not be written (${lost.code}): what it said is incomplete\n`,
  )
await end(lost !== undefined && status === 0 ? EX_IOERR : status)

// @ts-check
/**
 * Measures Sealgate beside its peers and prints the comparison as Markdown.
 *
 * Usage: node bench/run.mjs [ROW ...] [--seconds N] [--repeat N] [--without PEER] [--write]
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { describeMachine } from './measure/machine.mjs'
import { toMarkdown, writeIntoReadme } from './report.mjs'
import { handshakeCpu } from './rows/handshake-cpu.mjs'
import { hsmLatency } from './rows/hsm-latency.mjs'
import { httpRequests } from './rows/http-requests.mjs'
import { idleMemory } from './rows/idle-memory.mjs'
import { steadyUnderFlood } from './rows/steady-under-flood.mjs'
import { tcpRelay } from './rows/tcp-relay.mjs'
import { createBench } from './setup/bench.mjs'

const ROWS = [handshakeCpu, hsmLatency, httpRequests, tcpRelay, idleMemory, steadyUnderFlood]
const README = new URL('README.md', import.meta.url)
const RESULTS = new URL('results/', import.meta.url)

try {
  await main(readArguments())
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

/** @param {ReturnType<typeof readArguments>} settings */
async function main({ rows, seconds, repeat, without, write }) {
  const bench = await createBench({ seconds, repeat, without })
  try {
    const measured = []
    for (const row of rows) {
      console.error(row.title)
      measured.push({ row, results: await row.run(bench) })
    }

    const facts = { machine: describeMachine(), date: new Date().toISOString().slice(0, 10), seconds, repeat }
    const markdown = toMarkdown(measured, facts)
    console.log(markdown)
    await mkdir(RESULTS, { recursive: true })
    const figures = Object.fromEntries(measured.map(({ row, results }) => [row.id, results]))
    await writeFile(
      new URL('latest.json', RESULTS),
      `${JSON.stringify({ ...facts, rows: figures }, null, 2)}\n`,
    )
    if (write) await writeIntoReadme(README, markdown)
  } finally {
    await bench.workspace.close()
  }
}

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '5' },
      repeat: { type: 'string', default: '3' },
      without: { type: 'string', multiple: true, default: [] },
      write: { type: 'boolean', default: false },
    },
  })
  const seconds = Number(values.seconds)
  const repeat = Number(values.repeat)
  if (!Number.isInteger(seconds) || seconds < 1 || !Number.isInteger(repeat) || repeat < 1) {
    throw new Error('--seconds and --repeat take whole numbers from 1')
  }
  const rows = positionals.map((id) => {
    const row = ROWS.find((candidate) => candidate.id === id)
    if (row === undefined)
      throw new Error(`no row ${id}; there are: ${ROWS.map((each) => each.id).join(', ')}`)
    return row
  })
  return {
    rows: rows.length > 0 ? rows : ROWS,
    seconds,
    repeat,
    without: new Set(values.without),
    write: values.write,
  }
}

// @ts-check
/** `npm test`: the set-up of `npm start`, then everything that can tell that a change is wrong. */

import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { onEndSignal, signalStatus } from './command.mjs'
import { installNode } from './other-node.mjs'
import { root, statePaths } from './paths.mjs'
import { prepare } from './prepare.mjs'
import { runMain, Stop, step } from './steps.mjs'
import { HELP, parseTestOptions } from './test-options.mjs'
import { TEST_TOOLS } from './tools.mjs'

/** @typedef {{ passed: number, failed: number }} Count */

const WHAT_WAS_ASKED_FOR = { title: 'tests', projects: ['rings', 'chaos'] }
const RINGS = { title: 'unit, integration, e2e', projects: ['rings'] }
const CHAOS = { title: 'chaos', projects: ['chaos'] }

await runMain(async () => {
  const options = parseTestOptions(process.argv.slice(2))
  if (options.help) {
    process.stdout.write(HELP)
    return 0
  }
  const paths = statePaths()
  await prepare(paths, TEST_TOOLS)
  const env = { ...process.env }
  if (options.node !== undefined) {
    const release = options.node
    await step(`Node ${release}`, async () => {
      env['SEALGATE_TEST_NODE'] = await installNode(join(paths.state, `node-${release}`), release)
      return env['SEALGATE_TEST_NODE']
    })
  }
  if (options.minutes !== undefined) env['SEALGATE_CHAOS_MINUTES'] = options.minutes
  if (options.seed !== undefined) env['SEALGATE_CHAOS_SEED'] = options.seed

  const narrowed = options.filters.length > 0 || options.pattern !== undefined
  const counts = narrowed ? [] : [await staticChecks(), await nativeTests()]
  // The last one alone: nothing is to disturb what it measures, nor be disturbed by what it breaks.
  for (const stage of narrowed ? [WHAT_WAS_ASKED_FOR] : [RINGS, CHAOS]) {
    counts.push(await vitest(join(paths.state, 'vitest.json'), { ...options, ...stage }, env))
  }

  const passed = counts.reduce((sum, count) => sum + count.passed, 0)
  const failed = counts.reduce((sum, count) => sum + count.failed, 0)
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
  return failed === 0 && passed > 0 ? 0 : 1
})

/** What needs no running program; each is one test. @returns {Promise<Count>} */
async function staticChecks() {
  const tsc = 'node_modules/typescript/bin/tsc'
  const checks = [
    ...['tsconfig.json', 'dev/tsconfig.json', 'bench/tsconfig.json'].map((project) => ({
      name: `types, ${project}`,
      command: [tsc, '--noEmit', '-p', project],
    })),
    { name: 'lint and format', command: ['node_modules/@biomejs/biome/bin/biome', 'check'] },
  ]
  const count = { passed: 0, failed: 0 }
  for (const { name, command } of checks) {
    const { status } = await show(name, command)
    if (status === 0) count.passed += 1
    else count.failed += 1
  }
  return count
}

/** @returns {Promise<Count>} */
async function nativeTests() {
  const { status, output } = await show('native tests', ['test/native/run.mjs'])
  const summary = /(\d+) passed, (\d+) failed\s*$/.exec(output)
  const count = { passed: Number(summary?.[1] ?? 0), failed: Number(summary?.[2] ?? 0) }
  // A crash before the summary, or a sanitizer's report after it, is a failure as well.
  return status !== 0 && count.failed === 0 ? { ...count, failed: 1 } : count
}

/**
 * @param {string} report file for vitest's JSON
 * @param {{
 *   filters: readonly string[],
 *   pattern: string | undefined,
 *   title: string,
 *   projects: readonly string[],
 * }} options projects as vitest.config.ts names them
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Count>}
 */
async function vitest(report, { filters, pattern, title, projects }, env) {
  rmSync(report, { force: true })
  const { status } = await show(
    title,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      ...filters,
      ...projects.map((project) => `--project=${project}`),
      ...(pattern === undefined ? [] : ['-t', pattern]),
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    env,
  )
  if (!existsSync(report)) return { passed: 0, failed: 1 }
  const {
    numPassedTests: passed,
    numFailedTests,
    numPendingTests,
    numTodoTests,
  } = JSON.parse(readFileSync(report, 'utf8'))
  // A test that did not run proves nothing; with -t it was the user who left it out.
  const failed = numFailedTests + (pattern === undefined ? numPendingTests + numTodoTests : 0)
  // A file that does not load has no tests to count.
  return { passed, failed: status !== 0 && failed === 0 ? 1 : failed }
}

/**
 * Runs one of the tools with its output shown as it comes, and kept.
 *
 * @param {string} title
 * @param {readonly string[]} command a script for Node and its arguments
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<{ status: number, output: string }>}
 * @throws {Stop} when a signal asks for the end: no other tool is started then
 */
function show(title, command, env = process.env) {
  process.stdout.write(`\n── ${title}\n`)
  const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}
  return new Promise((resolve, reject) => {
    /** @type {NodeJS.Signals | undefined} */
    let stoppedBy
    // Before there is a child: no signal may come in between.
    const stopListening = onEndSignal((signal) => {
      stoppedBy = signal
      child.kill(signal)
    })
    const child = spawn(process.execPath, command, {
      cwd: root,
      env: { ...env, ...colour },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text
      process.stdout.write(text)
    })
    child.once('error', reject)
    child.once('close', (code) => {
      stopListening()
      if (stoppedBy === undefined) resolve({ status: code ?? 1, output })
      else reject(new Stop(`Stopped by ${stoppedBy}.`, signalStatus(stoppedBy)))
    })
  })
}

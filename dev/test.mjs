// @ts-check
/** `npm test`: the set-up of `npm start`, then everything that can tell that a change is wrong. */

import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { onEndSignal, signalStatus } from './command.mjs'
import { installNode } from './other-node.mjs'
import { root, statePaths } from './paths.mjs'
import { prepare } from './prepare.mjs'
import { runMain, Stop, step } from './steps.mjs'
import { HELP, parseTestOptions } from './test-options.mjs'
import { readReport } from './test-report.mjs'
import { TEST_TOOLS } from './tools.mjs'

/** @typedef {{ passed: number, failures: readonly string[] }} Outcome failures in words: which test, and why */

/**
 * @typedef {object} Stage one run of vitest
 * @property {string} title
 * @property {readonly string[]} projects as vitest.config.ts names them
 * @property {readonly string[]} filters parts of files' names; none: all
 * @property {NodeJS.ProcessEnv} env
 */

await runMain(async () => {
  const options = parseTestOptions(process.argv.slice(2))
  if (options.help) {
    process.stdout.write(HELP)
    return 0
  }
  const paths = statePaths()
  await prepare(paths, TEST_TOOLS)
  const env = { ...process.env }
  if (options.minutes !== undefined) env['SEALGATE_CHAOS_MINUTES'] = options.minutes
  if (options.seed !== undefined) env['SEALGATE_CHAOS_SEED'] = options.seed
  const { node, alsoNode, filters, pattern } = options
  const withOther = { ...env, ...(await otherNode(paths.state, node ?? alsoNode)) }
  const usual = node === undefined ? env : withOther

  const narrowed = filters.length > 0 || pattern !== undefined
  /** @type {Stage[]} */
  const stages = narrowed
    ? [{ title: 'tests', projects: ['rings', 'chaos'], filters, env: usual }]
    : [{ title: 'unit, integration, e2e', projects: ['rings'], filters, env: usual }]
  if (alsoNode !== undefined)
    stages.push({
      title: `e2e, Node ${alsoNode}`,
      projects: ['rings'],
      filters: ['test/e2e'],
      env: withOther,
    })
  // Last and alone: nothing is to disturb what it measures, nor be disturbed by what it breaks.
  if (!narrowed) stages.push({ title: 'chaos', projects: ['chaos'], filters, env: usual })

  const outcomes = narrowed ? [] : [await staticChecks(), await nativeTests()]
  for (const stage of stages) outcomes.push(await vitest(join(paths.state, 'vitest.json'), stage, pattern))

  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0)
  const failures = outcomes.flatMap((outcome) => outcome.failures)
  // Once more, where whoever sees the end of a long output finds them.
  if (failures.length > 0) process.stdout.write(`\n── failed\n${failures.join('\n')}\n`)
  process.stdout.write(`\n${passed} passed, ${failures.length} failed\n`)
  return failures.length === 0 && passed > 0 ? 0 : 1
})

/**
 * @param {string} state
 * @param {string | undefined} release
 * @returns {Promise<NodeJS.ProcessEnv>} what makes the tests start the built program with it
 */
async function otherNode(state, release) {
  if (release === undefined) return {}
  let node = ''
  await step(`Node ${release}`, async () => {
    node = await installNode(join(state, `node-${release}`), release)
    return node
  })
  return { SEALGATE_TEST_NODE: node }
}

/** What needs no running program; each is one test. @returns {Promise<Outcome>} */
async function staticChecks() {
  const tsc = 'node_modules/typescript/bin/tsc'
  const checks = [
    ...['tsconfig.json', 'dev/tsconfig.json', 'bench/tsconfig.json'].map((project) => ({
      name: `types, ${project}`,
      command: [tsc, '--noEmit', '-p', project],
    })),
    { name: 'lint and format', command: ['node_modules/@biomejs/biome/bin/biome', 'check'] },
  ]
  const failures = []
  for (const { name, command } of checks) {
    const { status } = await show(name, command)
    if (status !== 0) failures.push(name)
  }
  return { passed: checks.length - failures.length, failures }
}

/** @returns {Promise<Outcome>} */
async function nativeTests() {
  const { status, output } = await show('native tests', ['test/native/run.mjs'])
  const summary = /(\d+) passed, (\d+) failed\s*$/.exec(output)
  const names = new Set([...output.matchAll(/^\[ {2}FAILED {2}\] (\w+\.\w+)/gm)].map((match) => match[1]))
  // A crash before the summary, or a sanitizer's report after it, is a failure as well.
  const failed = Math.max(Number(summary?.[2] ?? 0), names.size, status === 0 ? 0 : 1)
  const unnamed = Array.from({ length: failed - names.size }, () => 'see above')
  const failures = [...names, ...unnamed].map((name) => `native tests: ${name}`)
  return { passed: Number(summary?.[1] ?? 0), failures }
}

/**
 * @param {string} report file for vitest's JSON
 * @param {Stage} stage
 * @param {string | undefined} pattern of names of tests
 * @returns {Promise<Outcome>}
 */
async function vitest(report, { title, projects, filters, env }, pattern) {
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
  const { passed, failures } = readReport(report, pattern !== undefined)
  if (status !== 0 && failures.length === 0) failures.push(`exit status ${status}`)
  return { passed, failures: failures.map((text) => `${title}: ${text}`) }
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

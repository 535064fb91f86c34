// @ts-check
/**
 * Runs tlsfuzzer's scripts for servers against Sealgate, and what fails there against nginx with the same policy:
 * whatever nginx passes, Sealgate must pass.
 *
 * Usage: node test/tlsfuzzer/run.mjs --tlsfuzzer DIR --python PATH [--only PATTERN] [--seconds N]
 *
 * tlsfuzzer is not part of this repository: DIR is a checkout of it, PATH what PYTHONPATH must have for it (tlslite-ng
 * and ecdsa). See README.md. Exit status 1 when a probe fails that nginx passes.
 */

import { parseArgs } from 'node:util'
import { listScripts, runScript } from './scripts.mjs'
import { startServers } from './servers.mjs'

const { tlsfuzzer, python, only, seconds } = readArguments()
const servers = await startServers()
try {
  process.exitCode = (await main()) ? 0 : 1
} finally {
  await servers.stop()
}

/** @returns {Promise<boolean>} nothing fails that nginx passes. */
async function main() {
  const limitMs = seconds * 1000
  /** @type {{ script: string, probes: readonly string[] }[]} */
  const regressions = []
  const sums = { passed: 0, alike: 0, unfinished: 0 }
  for (const script of listScripts(tlsfuzzer).filter(({ id }) => id.includes(only))) {
    const run = { tlsfuzzer, python, limitMs }
    const here = { ...run, port: servers.sealgate[script.policy] }
    const first = await runScript(script, here)
    // Scripts wait five seconds for an answer: on a busy machine a probe may fail once.
    const ours =
      first.outcome === 'failed' ? await runScript(script, { ...here, probes: first.failed }) : first
    if (ours.outcome === 'passed') {
      sums.passed += 1
      print(script.id, 'passes', ours.seconds)
      continue
    }
    // Only what failed: the others may be many, and some choose their probes at random.
    const theirs = await runScript(script, {
      ...run,
      port: servers.nginx[script.policy],
      probes: ours.failed,
    })
    const probes = theirs.outcome === 'passed' ? ours.failed : without(ours.failed, theirs.failed)
    if (theirs.outcome === 'unfinished' || (ours.outcome === 'unfinished' && theirs.outcome !== 'passed')) {
      sums.unfinished += 1
      print(script.id, `not comparable: ${ours.outcome} here, ${theirs.outcome} at nginx`, ours.seconds)
    } else if (probes.length === 0 && ours.outcome !== 'unfinished') {
      sums.alike += 1
      print(script.id, `fails as nginx does (${ours.failed.length})`, ours.seconds)
    } else {
      regressions.push({ script: script.id, probes })
      print(script.id, `FAILS, nginx passes: ${probes.join(' | ') || ours.outcome}`, ours.seconds)
    }
  }
  const { passed, alike, unfinished } = sums
  console.log(
    `${passed} pass, ${alike} fail as nginx does, ${unfinished} not comparable, ${regressions.length} fail where nginx passes`,
  )
  return regressions.length === 0
}

/**
 * @param {readonly string[]} ours
 * @param {readonly string[]} theirs
 */
function without(ours, theirs) {
  return ours.filter((probe) => !theirs.includes(probe))
}

/**
 * @param {string} script
 * @param {string} verdict
 * @param {number} seconds
 */
function print(script, verdict, seconds) {
  console.log(`${script.padEnd(62)} ${seconds.toFixed(1).padStart(6)} s  ${verdict}`)
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      tlsfuzzer: { type: 'string' },
      python: { type: 'string', default: '' },
      only: { type: 'string', default: '' },
      seconds: { type: 'string', default: '90' },
    },
  })
  if (values.tlsfuzzer === undefined) throw new Error('--tlsfuzzer DIR is needed: a checkout of tlsfuzzer')
  return { ...values, tlsfuzzer: values.tlsfuzzer, seconds: Number(values.seconds) }
}

// @ts-check
/**
 * Runs tlsfuzzer's scripts for servers against Sealgate, and what fails there against nginx with the same policy:
 * whatever nginx passes, Sealgate must pass.
 *
 * Usage: node test/tlsfuzzer/run.mjs --tlsfuzzer DIR --python PATH [--only PATTERN] [--part N/M] [--seconds N]
 *
 * tlsfuzzer is not part of this repository: DIR is a checkout of it, PATH what PYTHONPATH must have for it (tlslite-ng
 * and ecdsa). See README.md. Exit status 1 when a probe fails that nginx passes.
 */

import { parseArgs } from 'node:util'
import { NOT_RUN, planRuns } from './plan.mjs'
import { runScript } from './scripts.mjs'
import { startServers } from './servers.mjs'

/** Scripts mostly wait. */
const AT_ONCE = 5

/**
 * @typedef {import('./plan.mjs').Run} Run
 *
 * @typedef {'pass' | 'pass what nginx passes' | 'say nothing' | 'end without a result'
 *   | 'fail where nginx passes'} Verdict
 */

const setting = readArguments()
const servers = await startServers()
try {
  process.exitCode = (await main()) ? 0 : 1
} finally {
  await servers.stop()
}

/** @returns {Promise<boolean>} nothing fails that nginx passes. */
async function main() {
  const runs = planRuns(setting.tlsfuzzer)
    .filter(({ id }) => id.includes(setting.only))
    .filter((_, index) => index % setting.parts === setting.part - 1)
  /** @type {Map<Verdict, number>} */
  const verdicts = new Map()
  const probes = { passed: 0, alike: 0 }
  const queue = runs.values()
  const worker = async () => {
    for (const run of queue) {
      const { verdict, passed, alike, seconds, text } = await judge(run)
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1)
      probes.passed += passed
      probes.alike += alike
      console.log(`${run.id.padEnd(100)} ${seconds.toFixed(1).padStart(5)} s  ${text}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  const sums = [...verdicts].map(([verdict, count]) => `${count} ${verdict}`)
  console.log(`${runs.length} runs: ${sums.join(', ')}; ${NOT_RUN.size} scripts not run`)
  console.log(`${probes.passed} probes pass, ${probes.alike} fail at nginx as well`)
  return !verdicts.has('fail where nginx passes') && !verdicts.has('end without a result')
}

/**
 * @param {Run} run
 * @returns {Promise<{ verdict: Verdict, passed: number, alike: number, seconds: number, text: string }>}
 */
async function judge(run) {
  const here = target(run, 'sealgate')
  const { outcome, passed, failed, seconds } = await runScript(run, here, setting)
  /** @type {(verdict: Verdict, alike: number, text: string) => Awaited<ReturnType<typeof judge>>} */
  const judged = (verdict, alike, text) => ({ verdict, passed, alike, seconds, text })
  if (outcome === 'passed') return judged('pass', 0, `passes (${passed})`)
  if (outcome === 'unfinished') return judged('end without a result', 0, 'ENDS WITHOUT A RESULT')
  // Only what failed: the others may be many, and some scripts choose their probes at random.
  // But a sanity check with a longer name than that is passed over when it is asked for.
  const asked = failed.some((probe) => /^sanity ./i.test(probe)) ? [] : failed
  const theirs = await runScript(run, target(run, 'nginx'), setting, asked)
  const suspects = failed.filter((probe) => !theirs.failed.includes(probe))
  // Scripts wait five seconds for an answer: on a busy machine a probe may fail once.
  const again = suspects.length === 0 ? undefined : await runScript(run, here, setting, suspects)
  const only = again?.outcome === 'unfinished' ? suspects : (again?.failed ?? [])
  const alike = theirs.failed.length
  if (theirs.outcome === 'unfinished') return judged('end without a result', 0, 'NO RESULT AT NGINX')
  if (only.length > 0)
    return judged('fail where nginx passes', alike, `FAILS, nginx passes: ${only.join(' | ')}`)
  if (passed === 0) return judged('say nothing', alike, 'its sanity check fails at both')
  if (alike === 0) return judged('pass', 0, `passes (${passed + failed.length})`)
  return judged('pass what nginx passes', alike, `passes ${passed}, nginx neither: ${names(failed)}`)
}

/** @param {readonly string[]} probes */
function names(probes) {
  const [some, more] = [probes.slice(0, 4).join(' | '), probes.length - 4]
  return more > 0 ? `${some} and ${more} more` : some
}

/**
 * @param {Run} run
 * @param {'sealgate' | 'nginx'} server
 */
function target({ site, policy, client }, server) {
  const port = servers[server].get(site)?.get(policy)
  if (port === undefined) throw new Error(`nothing listens for ${site}, ${policy}`)
  return {
    port,
    clientSchemes: servers.clientSchemes[server],
    ...(client && { client: servers.clients[client] }),
  }
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      tlsfuzzer: { type: 'string' },
      python: { type: 'string', default: '' },
      only: { type: 'string', default: '' },
      part: { type: 'string', default: '1/1' },
      seconds: { type: 'string', default: '90' },
    },
  })
  const { tlsfuzzer, python, only, seconds } = values
  if (tlsfuzzer === undefined) throw new Error('--tlsfuzzer DIR is needed: a checkout of tlsfuzzer')
  const [part = 1, parts = 1] = values.part.split('/').map(Number)
  return { tlsfuzzer, python, only, part, parts, limitMs: Number(seconds) * 1000 }
}

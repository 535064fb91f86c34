// @ts-check
/**
 * One row of the specification: peers measured in turn, A B C A B C, so that whatever drifts on the machine
 * drifts for all of them, and judged by medians.
 */

import { watchNoise } from '../measure/machine.mjs'
import { formatNumber, median } from '../measure/statistics.mjs'

/** @typedef {import('../peers/peer.mjs').Bench} Bench */
/** @typedef {import('../peers/peer.mjs').Peer} Peer */
/** @typedef {import('../peers/peer.mjs').StartPeer} StartPeer */

/** @typedef {Record<string, number>} Figures by metric */

/**
 * @typedef {object} Row
 * @property {string} id for the command line
 * @property {string} title
 * @property {string} method in a sentence or two: load, and what is counted
 * @property {Record<string, string>} metrics what the columns mean, by metric
 * @property {(bench: Bench) => Promise<Results>} run
 * @property {(results: Results) => Verdict[]} judge
 * @property {(results: Results) => SummaryLine[]} [summarize] for README.md; absent: the row is in bench/README.md only
 *
 * @typedef {object} Results
 * @property {Record<string, Record<string, number[]>>} peers values by peer and metric, one per repetition
 * @property {{ steal: number, foreign: number }} noise the worst of all measurements
 * @property {number} errors failed operations, all measurements together
 *
 * @typedef {object} Verdict
 * @property {string} measure
 * @property {number} value
 * @property {Target} [target] absent: reported, not judged
 *
 * @typedef {{ atMost: number } | { atLeast: number }} Target
 *
 * @typedef {object} SummaryLine
 * @property {string} measure
 * @property {string} sealgate
 * @property {string[]} beside what the peers did, a phrase each
 */

/** The metric in which a measurement reports failed operations; not a column. */
export const ERRORS = 'errors'

/**
 * Starts all peers, then measures them in turn. The first round is a rehearsal, whose figures do not count: a server
 * that compiles its code while it runs, as V8 does, needs some ten seconds of load until it costs what it costs from then on.
 *
 * @param {Bench} bench
 * @param {Record<string, StartPeer>} starts
 * @param {(peer: Peer, name: string) => Promise<Figures>} measure
 * @returns {Promise<Results>}
 */
export async function alternate(bench, starts, measure) {
  /** @type {Map<string, Peer>} */
  const peers = new Map()
  const results = emptyResults()
  try {
    for (const [name, start] of Object.entries(starts)) {
      if (!bench.without.has(name)) peers.set(name, await start(bench))
    }
    const rehearsal = emptyResults()
    for (let round = 1 - bench.rehearsals; round <= bench.repeat; round++) {
      const into = round < 1 ? rehearsal : results
      for (const [name, peer] of peers) await measureOnce(into, name, round, () => measure(peer, name))
    }
    results.errors += rehearsal.errors
  } finally {
    for (const peer of peers.values()) await peer.stop()
  }
  return results
}

/**
 * The same, with a freshly started peer for each measurement: for memory, which remembers.
 *
 * @type {typeof alternate}
 */
export async function alternateFresh(bench, starts, measure) {
  const results = emptyResults()
  for (let round = 1; round <= bench.repeat; round++) {
    for (const [name, start] of Object.entries(starts)) {
      if (bench.without.has(name)) continue
      const peer = await start(bench)
      try {
        await measureOnce(results, name, round, () => measure(peer, name))
      } finally {
        await peer.stop()
      }
    }
  }
  return results
}

/**
 * Results of the same peers, measured one after the other, as one.
 *
 * @param {readonly Results[]} parts
 * @returns {Results}
 */
export function merge(parts) {
  const merged = emptyResults()
  for (const { peers, noise, errors } of parts) {
    addNoise(merged, noise)
    merged.errors += errors
    for (const [name, figures] of Object.entries(peers)) {
      for (const [metric, values] of Object.entries(figures)) {
        for (const value of values) addFigure(merged, name, metric, value)
      }
    }
  }
  return merged
}

/**
 * Median of one peer's metric divided by another's; NaN when either was left out.
 *
 * @param {Results} results
 * @param {string} metric
 * @param {string} peer
 * @param {string} other
 */
export function ratio(results, metric, peer, other) {
  return middle(results, metric, peer) / middle(results, metric, other)
}

/**
 * @param {Results} results
 * @param {string} metric
 * @param {string} peer
 */
export function middle(results, metric, peer) {
  return median(results.peers[peer]?.[metric] ?? [])
}

/**
 * Peers that were measured, each with its figures in a phrase: `nginx, \`engine:pkcs11\`: 1,079 / 1,043`.
 *
 * @param {Results} results
 * @param {readonly string[]} peers
 * @param {(peer: string) => string} figures
 */
export function besides(results, peers, figures) {
  return peers
    .filter((peer) => results.peers[peer] !== undefined)
    .map(
      (peer) =>
        `${peer.replaceAll('engine:pkcs11', '`engine:pkcs11`').replaceAll('node:https', '`node:https`')}: ${figures(peer)}`,
    )
}

/**
 * @param {Results} results
 * @param {readonly string[]} metrics
 * @param {string} peer
 */
export function figuresText(results, metrics, peer) {
  return metrics.map((metric) => formatNumber(middle(results, metric, peer))).join(' / ')
}

/** @returns {Results} */
function emptyResults() {
  return { peers: {}, noise: { steal: 0, foreign: 0 }, errors: 0 }
}

/**
 * @param {Results} results
 * @param {string} name
 * @param {number} round
 * @param {() => Promise<Figures>} measure
 */
async function measureOnce(results, name, round, measure) {
  const noiseSince = watchNoise()
  const { [ERRORS]: errors = 0, ...figures } = await measure()
  addNoise(results, noiseSince())
  results.errors += errors
  for (const [metric, value] of Object.entries(figures)) addFigure(results, name, metric, value)
  const words = Object.entries(figures).map(([metric, value]) => `${metric} ${value.toFixed(3)}`)
  const failed = errors > 0 ? `, ${errors} errors` : ''
  console.error(`  ${round}: ${name}: ${words.join(', ')}${failed}`)
}

/**
 * @param {Results} results
 * @param {Results['noise']} noise
 */
function addNoise(results, { steal, foreign }) {
  results.noise.steal = Math.max(results.noise.steal, steal)
  results.noise.foreign = Math.max(results.noise.foreign, foreign)
}

/**
 * @param {Results} results
 * @param {string} name
 * @param {string} metric
 * @param {number} value
 */
function addFigure(results, name, metric, value) {
  results.peers[name] ??= {}
  results.peers[name][metric] ??= []
  results.peers[name][metric].push(value)
}

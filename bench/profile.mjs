// @ts-check
/**
 * Where the CPU time of a full handshake goes: `perf` over all processes of a peer while handshakes flood in,
 * by shared object and by function.
 *
 * Usage: node bench/profile.mjs [--peer NAME] [--seconds N]
 */

import { parseArgs } from 'node:util'
import { handshakeLoad, withCpu } from './measure/load.mjs'
import { processTree } from './measure/process-tree.mjs'
import { hsmPeers, nginxFile, SEALGATE } from './peers/peer.mjs'
import { createBench } from './setup/bench.mjs'
import { softHsm } from './setup/hsm.mjs'

const { values } = parseArgs({
  options: { peer: { type: 'string', default: SEALGATE }, seconds: { type: 'string', default: '5' } },
})

try {
  await profile(values.peer, Number(values.seconds))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

/**
 * @param {string} name
 * @param {number} seconds
 */
async function profile(name, seconds) {
  const bench = await createBench({
    seconds,
    repeat: 1,
    rehearsals: 0,
    warmUp: 10,
    idleConnections: 0,
    settleMs: 0,
    without: new Set(name === SEALGATE ? [] : [SEALGATE]),
  })
  const { workspace } = bench
  try {
    const peers = { ...hsmPeers(softHsm(bench)), ...nginxFile }
    const start = peers[name]
    if (start === undefined) throw new Error(`no peer ${name}; there are: ${Object.keys(peers).join(' | ')}`)
    const peer = await start(bench)
    await handshakeLoad(bench, peer, { concurrency: 64, seconds: bench.warmUp })

    const data = `${workspace.dir}/perf.data`
    const pids = processTree(peer.pid).join(',')
    // The clock, not a hardware counter: virtual machines often have none.
    const options = ['-q', '-e', 'cpu-clock', '-F', '997', '-o', data, '-p', pids]
    const [{ result, cpu }] = await Promise.all([
      withCpu(peer, () => handshakeLoad(bench, peer, { concurrency: 64, seconds })),
      perf(workspace, ['record', ...options, '--', 'sleep', String(seconds)]),
    ])
    console.log(`${name}: ${((cpu * 1e6) / result.handshakes).toFixed(0)} µs of CPU per full handshake\n`)
    const report = ['report', '--stdio', '-q', '-i', data]
    console.log('%s\n', await perf(workspace, [...report, '--sort', 'comm', '--percent-limit', '0.5']))
    console.log('%s\n', await perf(workspace, [...report, '--sort', 'dso', '--percent-limit', '0.5']))
    console.log('%s\n', await perf(workspace, [...report, '--sort', 'dso,symbol', '--percent-limit', '0.7']))
  } finally {
    await workspace.close()
  }
}

/**
 * @param {import('./setup/workspace.mjs').Workspace} workspace
 * @param {string[]} args
 */
async function perf(workspace, args) {
  try {
    const output = await workspace.run({ name: 'perf', command: 'perf', args, limitMs: 120_000 })
    return output
      .replace(/[ -]+$/gm, '')
      .replace(/\n{2,}/g, '\n')
      .trimEnd()
  } catch (cause) {
    throw new Error('perf does not run; install it with: sudo apt-get install linux-perf', { cause })
  }
}

// @ts-check
/** The proxy as a child process: started, waited for, ended. */

import { spawn } from 'node:child_process'
import { get } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { root } from './paths.mjs'
import { Stop } from './steps.mjs'

/**
 * @typedef {object} ProxyProcess
 * @property {(admin: string) => Promise<void>} ready resolves when /readyz says so; throws Stop when it ends before
 * @property {() => void} showLog prints what it has logged so far, and everything from now on
 * @property {() => void} stop asks it to drain and end; a second call makes it end now
 * @property {Promise<number>} ended its exit status
 */

/**
 * @param {string} config path
 * @returns {ProxyProcess}
 */
export function startProxy(config) {
  // Strict: whoever tries it out wants to read at once what is wrong.
  const command = [join(root, 'dist/cli/main.js'), 'run', '--strict', '--config', config]
  const child = spawn(process.execPath, command, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Its own process group: Ctrl-C in the terminal reaches only us, and we ask for a drain once.
    detached: true,
  })
  const stopWithUs = () => child.kill('SIGTERM')
  process.once('exit', stopWithUs)

  let shown = false
  let stopping = false
  let kept = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      if (shown) process.stdout.write(text)
      else kept += text
    })
  }

  /** @type {Promise<number>} */
  const ended = new Promise((resolve) => {
    child.once('close', (code) => {
      process.off('exit', stopWithUs)
      resolve(code ?? SOFTWARE_ERROR)
    })
  })

  return {
    ended,
    async ready(admin) {
      const early = await Promise.race([ended, untilReady(admin)])
      if (early === 'ready') return
      if (stopping) throw new Stop('Stopped.', 0)
      if (early === 'timeout') child.kill('SIGKILL')
      throw new Stop(
        `${kept.trimEnd()}\n\nThe proxy did not start.`,
        early === 'timeout' ? SOFTWARE_ERROR : early,
      )
    },
    showLog() {
      shown = true
      process.stdout.write(kept)
    },
    stop() {
      stopping = true
      child.kill('SIGTERM')
    },
  }
}

/**
 * @param {string} admin origin
 * @returns {Promise<'ready' | 'timeout'>}
 */
async function untilReady(admin) {
  const deadline = Date.now() + READY_TIMEOUT_MS
  while (Date.now() < deadline) {
    if ((await statusOf(`${admin}/readyz`)) === 200) return 'ready'
    await delay(POLL_MS, undefined, { ref: false })
  }
  return 'timeout'
}

/**
 * @param {string} url
 * @returns {Promise<number | undefined>} undefined: nobody answers
 */
function statusOf(url) {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: POLL_MS * 20 }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    request.once('timeout', () => request.destroy())
    request.once('error', () => resolve(undefined))
  })
}

const READY_TIMEOUT_MS = 30_000
const POLL_MS = 50
/** EX_SOFTWARE, sysexits.h */
const SOFTWARE_ERROR = 70

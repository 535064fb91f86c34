// @ts-check
/** Other programs, run to their end. */

import { spawn, spawnSync } from 'node:child_process'
import { constants } from 'node:os'
import { Stop } from './steps.mjs'

/**
 * Runs a command; what it prints is kept and shown only when it fails. A signal that ends this program ends
 * the command first, so that an interrupted set-up leaves no compiler or package manager behind.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv, show?: boolean }} options `show`: print as it comes
 * @returns {Promise<string>} standard output and standard error
 * @throws {Stop} status 70, with the last lines of the output
 */
export function run(command, args, { cwd, env = process.env, show = false }) {
  return new Promise((resolve, reject) => {
    /** @type {NodeJS.Signals | undefined} */
    let stoppedBy
    // Before there is a child: no signal may come in between.
    const stopListening = onEndSignal((signal) => {
      stoppedBy = signal
      child.kill(signal)
    })
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
    })
    let output = ''
    child.stdout?.setEncoding('utf8').on('data', (text) => (output += text))
    child.stderr?.setEncoding('utf8').on('data', (text) => (output += text))

    child.once('error', (error) => {
      stopListening()
      reject(new Stop(`${command}: ${error.message}`, 70))
    })
    child.once('close', (code, signal) => {
      stopListening()
      if (stoppedBy !== undefined)
        return reject(new Stop(`Stopped by ${stoppedBy}.`, signalStatus(stoppedBy)))
      if (code === 0) return resolve(output)
      const how = code === null ? `was ended by ${signal}` : `exited with status ${code}`
      reject(new Stop(`${lastLines(output)}\n${[command, ...args].join(' ')} ${how}`, 70))
    })
  })
}

/**
 * Calls back for each INT, TERM or HUP instead of dying from it.
 *
 * @param {(signal: NodeJS.Signals) => void} listener
 * @returns {() => void} restores what was before
 */
export function onEndSignal(listener) {
  for (const signal of END_SIGNALS) process.on(signal, listener)
  return () => {
    for (const signal of END_SIGNALS) process.off(signal, listener)
  }
}

/**
 * The exit status of a program that a signal ended, as shells count it.
 *
 * @param {NodeJS.Signals} signal
 */
export function signalStatus(signal) {
  return 128 + constants.signals[signal]
}

/**
 * Is there a program of this name on the PATH?
 *
 * @param {string} name
 */
export function hasCommand(name) {
  return spawnSync('sh', ['-c', 'command -v "$1"', 'sh', name], { stdio: 'ignore' }).status === 0
}

/** @type {readonly NodeJS.Signals[]} */
const END_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']

const SHOWN_LINES = 40

/** @param {string} output */
function lastLines(output) {
  return output.trimEnd().split('\n').slice(-SHOWN_LINES).join('\n')
}

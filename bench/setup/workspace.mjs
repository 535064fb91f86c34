// @ts-check
/**
 * A temporary folder and the programs started in it.
 *
 * Whatever way the bench ends (done, failed, Ctrl-C), the programs are ended by their process ids and the
 * folder, which holds a token and its PIN, is removed.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { processTree } from '../measure/process-tree.mjs'

const START_LIMIT_MS = 30_000
const STOP_LIMIT_MS = 10_000

/**
 * @typedef {object} Program
 * @property {number} pid
 * @property {import('node:child_process').ChildProcess} child
 * @property {() => Promise<void>} stop SIGTERM, and SIGKILL for all its processes after 10 s; idempotent
 */

/**
 * @typedef {object} ProgramOptions
 * @property {string} name for messages and the log file
 * @property {string} command
 * @property {readonly string[]} args
 * @property {Readonly<Record<string, string>>} [env] added to our own
 * @property {'pipe' | 'log'} [output] where standard output goes; standard error always goes to the log
 * @property {boolean} [group] a process group of its own, with its process id
 *
 * @typedef {Omit<ProgramOptions, 'output'> & { limitMs: number }} RunOptions
 */

export class Workspace {
  /** @type {string} */
  dir = mkdtempSync(`${tmpdir()}/sealgate-bench-`)
  /** @type {Set<Program>} */
  #programs = new Set()
  #logs = 0

  constructor() {
    process.once('exit', () => this.#abandon())
    for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
      process.once(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143))
    }
  }

  /**
   * @param {ProgramOptions} options
   * @returns {Program & { logTail: () => string }}
   */
  spawn({ name, command, args, env = {}, output = 'log', group = false }) {
    const log = `${this.dir}/${name}-${++this.#logs}.log`
    const file = openSync(log, 'a', 0o600)
    const child = spawn(command, args, {
      cwd: this.dir,
      env: { ...process.env, ...env },
      detached: group,
      stdio: ['pipe', output === 'pipe' ? 'pipe' : file, file],
    })
    child.on('error', () => {}) // reported by whoever waits: no pid, or an exit
    const { pid } = child
    if (pid === undefined) throw new Error(`${name} does not start: is ${command} installed?`)
    const program = { pid, child, logTail: () => lastLines(log), stop: () => this.#stop(program) }
    this.#programs.add(program)
    return program
  }

  /**
   * Starts a server and waits until `isReady` says so.
   *
   * @param {ProgramOptions} options
   * @param {() => Promise<boolean>} isReady
   * @returns {Promise<Program>}
   * @throws an Error with the end of the program's log when it exits or is not ready within 30 s.
   */
  async serve(options, isReady) {
    const program = this.spawn(options)
    const limit = Date.now() + START_LIMIT_MS
    while (!(await isReady())) {
      if (hasEnded(program.child) || Date.now() > limit) {
        const { exitCode, signalCode } = program.child
        await program.stop()
        const how = signalCode ?? (exitCode === null ? 'not ready in time' : `exit ${exitCode}`)
        throw new Error(`${options.name} does not start (${how}):\n${program.logTail()}`)
      }
      await delay(20)
    }
    return program
  }

  /**
   * Runs a load generator to its end.
   *
   * @param {RunOptions} options
   * @returns {Promise<string>} its standard output
   * @throws an Error with the end of its log when it fails or takes longer than `limitMs`.
   */
  async run(options) {
    return this.start(options).output
  }

  /**
   * The same for somebody who has to do with it meanwhile.
   *
   * @param {RunOptions} options
   * @returns {{ pid: number, output: Promise<string> }}
   */
  start({ limitMs, ...options }) {
    const program = this.spawn({ ...options, output: 'pipe' })
    return { pid: program.pid, output: this.#outputOf(program, options.name, limitMs) }
  }

  /**
   * @param {Program & { logTail: () => string }} program
   * @param {string} name
   * @param {number} limitMs
   */
  async #outputOf(program, name, limitMs) {
    let output = ''
    program.child.stdout?.setEncoding('utf8').on('data', (text) => {
      output += text
    })
    const timer = setTimeout(() => program.child.kill('SIGKILL'), limitMs)
    await once(program.child, 'close')
    clearTimeout(timer)
    this.#programs.delete(program)
    if (program.child.exitCode !== 0) {
      const how = program.child.signalCode ?? `exit ${program.child.exitCode}`
      throw new Error(`${name} failed (${how}):\n${program.logTail()}`)
    }
    return output
  }

  /** Stops what still runs, last started first, and removes the folder. Idempotent. */
  async close() {
    for (const program of [...this.#programs].reverse()) await program.stop()
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** @param {Program} program */
  async #stop(program) {
    this.#programs.delete(program)
    if (hasEnded(program.child)) return
    const ended = once(program.child, 'exit')
    program.child.kill('SIGTERM')
    const timer = setTimeout(() => killTree(program.pid), STOP_LIMIT_MS)
    await ended
    clearTimeout(timer)
  }

  /** The synchronous last resort, when the process is about to end. */
  #abandon() {
    for (const { pid, child } of this.#programs) if (!hasEnded(child)) killTree(pid)
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** @returns {Promise<number>} a port of the loopback address that is free now */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/**
 * @param {number} port
 * @returns {Promise<boolean>} whether something listens there on the loopback address
 */
export async function isListening(port) {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** @param {import('node:child_process').ChildProcess} child */
function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null
}

/** @param {number} root */
function killTree(root) {
  for (const pid of processTree(root)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended in the meantime.
    }
  }
}

/** @param {string} file */
function lastLines(file) {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-15).join('\n')
}

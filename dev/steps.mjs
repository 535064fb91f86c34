// @ts-check
/**
 * Progress of a set-up: one line a step, with a spinner and the elapsed time on a terminal.
 */

/** Ends the program with a message for the user and an exit status (sysexits.h), without a stack trace. */
export class Stop extends Error {
  /**
   * @param {string} message what is wrong and the cure
   * @param {number} status 64 usage, 69 something is unavailable, 70 a step failed, 128 + n a signal
   */
  constructor(message, status) {
    super(message)
    this.status = status
  }
}

/**
 * Runs one step and says how it went and how long it took.
 *
 * @param {string} title a noun: what will be there afterwards
 * @param {() => string | Promise<string>} work gives a few words for the line: `already built`, `made`
 */
export async function step(title, work) {
  const began = performance.now()
  const spinner = process.stdout.isTTY ? spin(title, began) : undefined
  try {
    const outcome = await work()
    spinner?.()
    process.stdout.write(line('✓', title, outcome, began))
  } catch (error) {
    spinner?.()
    process.stdout.write(line('✗', title, 'failed', began))
    throw error
  }
}

/**
 * Runs a program's main function; turns what it throws into a message and an exit status.
 *
 * @param {() => Promise<number | void>} main
 */
export async function runMain(main) {
  try {
    process.exitCode = (await main()) ?? 0
  } catch (error) {
    const stop = error instanceof Stop ? error : fileTrouble(error)
    if (stop === undefined) throw error
    process.stderr.write(`\n${stop.message}\n`)
    process.exitCode = stop.status
  }
}

/**
 * What the file system refuses is the user's to mend, and no fault of the program.
 *
 * @param {unknown} error
 * @returns {Stop | undefined}
 */
function fileTrouble(error) {
  if (!(error instanceof Error && 'syscall' in error && 'path' in error)) return undefined
  const refused = 'code' in error && ['EACCES', 'EPERM', 'EROFS'].includes(String(error.code))
  const cure = refused
    ? '\nThe checkout, and the folder of --state, must be yours to write; what another user has left there, e.g. an earlier start with sudo, has to be removed or given to you.'
    : ''
  return new Stop(`${error.message}${cure}`, 69)
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
const FRAME_MS = 100
const CLEAR_LINE = '\r\x1b[K'

/**
 * @param {string} title
 * @param {number} began
 * @returns {() => void} removes the spinner
 */
function spin(title, began) {
  let frame = 0
  const timer = setInterval(() => {
    frame = (frame + 1) % FRAMES.length
    process.stdout.write(`${CLEAR_LINE}${FRAMES[frame]} ${title.padEnd(TITLE_WIDTH)} ${elapsed(began)}`)
  }, FRAME_MS)
  return () => {
    clearInterval(timer)
    process.stdout.write(CLEAR_LINE)
  }
}

const TITLE_WIDTH = 22

/**
 * @param {string} mark
 * @param {string} title
 * @param {string} outcome
 * @param {number} began
 */
function line(mark, title, outcome, began) {
  return `${mark} ${title.padEnd(TITLE_WIDTH)} ${outcome} (${elapsed(began)})\n`
}

/** @param {number} began */
function elapsed(began) {
  const ms = performance.now() - began
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

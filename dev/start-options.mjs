// @ts-check
/** The command line of `npm start`. */

import { parseArgs } from 'node:util'
import { Stop } from './steps.mjs'

export const HELP = `Usage: npm start -- [options]

Sets up a development HSM once and starts Sealgate in front of an application.

  --port N            port for https (default 8443; 0: any free one)
  --admin-port N      port for health and metrics (default 9901, or a free one)
  --upstream URL      your own application, e.g. http://127.0.0.1:3000
                      (default: a small demo that shows the request)
  --state DIR         token, certificates and configuration (default .sealgate)
  --help              this text

The first start installs npm packages and SoftHSM, builds, and generates keys
inside a SoftHSM token; later ones take seconds. Ctrl-C ends everything.
`

/**
 * @typedef {object} StartOptions
 * @property {boolean} help
 * @property {number} port 0: any free one
 * @property {number | undefined} adminPort undefined: the usual one, or any that is free
 * @property {string | undefined} upstream origin; undefined: the demo
 * @property {string | undefined} state
 */

/**
 * @param {readonly string[]} args
 * @returns {StartOptions}
 * @throws {Stop} status 64
 */
export function parseStartOptions(args) {
  const { help = false, port, 'admin-port': adminPort, upstream, state } = parse(args)
  // An unset variable, most often: the keys would be made among the files of the current folder.
  if (state === '') throw usage('--state is empty: give a folder.')
  return {
    help,
    port: port === undefined ? DEFAULT_PORT : portNumber('--port', port),
    adminPort: adminPort === undefined ? undefined : portNumber('--admin-port', adminPort),
    upstream: upstream === undefined ? undefined : upstreamOrigin(upstream),
    state,
  }
}

/** @param {readonly string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        port: { type: 'string' },
        'admin-port': { type: 'string' },
        upstream: { type: 'string' },
        state: { type: 'string' },
      },
    }).values
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error))
  }
}

/**
 * @param {string} option
 * @param {string} value
 */
function portNumber(option, value) {
  const port = Number(value)
  if (!/^\d+$/.test(value) || port > 65_535)
    throw usage(`${option} ${value}: a port is a number from 0 to 65535.`)
  return port
}

/** @param {string} value */
function upstreamOrigin(value) {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url?.protocol !== 'http:' || url.pathname !== '/' || url.search !== '') {
    throw usage(`--upstream ${value}: give the origin of a plain HTTP server, e.g. http://127.0.0.1:3000.`)
  }
  if (url.username !== '' || url.password !== '')
    throw usage('--upstream: a user name and a password are never sent to it: leave them out.')
  return `http://${url.hostname}:${url.port === '' ? 80 : url.port}`
}

/** @param {string} message */
function usage(message) {
  return new Stop(`${message}\nTry: npm start -- --help`, 64)
}

const DEFAULT_PORT = 8443

// @ts-check
/** Free ports on the loopback address. */

import { createServer } from 'node:net'
import { Stop } from './steps.mjs'

/**
 * Asks the system whether a port can be had. It may be taken a moment later; whoever listens then says so.
 *
 * @param {number} port 0: any free one
 * @param {string} option what the user can say to have another one
 * @returns {Promise<number>} the port
 * @throws {Stop} status 69 when it is in use or not permitted
 */
export async function claimPort(port, option) {
  const found = await tryPort(port)
  if (found.port !== undefined) return found.port
  const another = (await tryPort(0)).port
  const reason =
    found.code === 'EADDRINUSE'
      ? `Port ${port} is in use, perhaps by an earlier start.`
      : `Port ${port} cannot be used (${found.code}).`
  throw new Stop(`${reason} Choose another one: npm start -- ${option} ${another}`, 69)
}

/**
 * @param {number} wanted
 * @returns {Promise<number>} `wanted` when it is free, otherwise another one
 */
export async function freePort(wanted) {
  return (await tryPort(wanted)).port ?? claimPort(0, '')
}

/**
 * @param {number} port
 * @returns {Promise<{ port?: number, code?: string }>}
 */
function tryPort(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (/** @type {NodeJS.ErrnoException} */ error) =>
      resolve({ code: error.code ?? error.message }),
    )
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      const found = typeof address === 'object' && address !== null ? address.port : port
      server.close(() => resolve({ port: found }))
    })
  })
}

/** Clients outside our own code: curl as a process, and bytes on a socket. */

import { execFile } from 'node:child_process'
import { connect, type Socket } from 'node:net'

export interface CurlResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** @throws when curl is not installed: `apt-get install curl`. */
export function curl(...args: readonly string[]): Promise<CurlResult> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: 64 * 1024 * 1024, encoding: 'latin1' as const }
    execFile(
      'curl',
      ['--silent', '--show-error', '--max-time', '25', ...args],
      options,
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') {
          reject(new Error(`curl is needed (apt-get install curl): ${error.message}`))
          return
        }
        resolve({ exitCode: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
      },
    )
  })
}

export interface RawReply {
  readonly text: string
  /** How the connection ended: by FIN, or by a reset. */
  readonly end: 'closed' | 'reset'
}

/** Sends bytes as they are and reads until the connection ends. */
export async function sendRaw(port: number, bytes: string): Promise<RawReply> {
  const socket = connect(port, '127.0.0.1')
  socket.write(bytes, 'latin1')
  return await readAll(socket)
}

export function readAll(socket: Socket): Promise<RawReply> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let end: RawReply['end'] = 'closed'
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', () => {
      end = 'reset'
    })
    socket.on('close', () => resolve({ text: Buffer.concat(chunks).toString('latin1'), end }))
  })
}

/** Programs of the system at the other end of a connection. A missing one fails the test and says what to install. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Outcome {
  /** null when a signal ended it, our own time limit included. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface ToolOptions {
  readonly input?: string
  readonly env?: NodeJS.ProcessEnv
  readonly timeoutMs?: number
  /** Called with all of standard output so far whenever there is more. */
  readonly onOutput?: (stdout: string) => void
}

/** Runs it to its end, whatever that is. @throws when it is not installed. */
export async function runTool(
  command: string,
  args: readonly string[],
  { input = '', env = process.env, timeoutMs = 25_000, onOutput }: ToolOptions = {},
): Promise<Outcome> {
  const child = spawn(command, args, { env, stdio: 'pipe', timeout: timeoutMs, killSignal: 'SIGKILL' })
  const closed = once(child, 'close')
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    output.stdout += text
    onOutput?.(output.stdout)
  })
  child.stderr.setEncoding('latin1').on('data', (text: string) => {
    output.stderr += text
  })
  child.stdin.on('error', () => {}) // it may end without reading what it was given
  child.stdin.end(input, 'latin1')
  try {
    const [status] = await closed
    return { status: typeof status === 'number' ? status : null, ...output }
  } catch (cause) {
    const packageName = PACKAGES[command]
    if (packageName === undefined) throw cause
    throw new Error(`${command} is needed: apt-get install ${packageName}`, { cause })
  }
}

const PACKAGES: Readonly<Record<string, string>> = {
  cc: 'build-essential',
  curl: 'curl',
  openssl: 'openssl',
  h2load: 'nghttp2-client',
  sslscan: 'sslscan',
  testssl: 'testssl.sh',
}

/** curl that says nothing but the body and its errors. */
export function curl(...args: readonly string[]): Promise<Outcome> {
  return runTool('curl', ['--silent', '--show-error', '--max-time', '20', ...args])
}

/**
 * `openssl s_client` with one HTTP request, until the server closes; without input, until the handshake is done.
 *
 * @param args e.g. `-tls1_2`, `-servername NAME`; with `-CAfile` an unknown issuer ends the handshake.
 */
export function sClient(
  port: number,
  args: readonly string[],
  input = requestFor(args.includes('-servername') ? args[args.indexOf('-servername') + 1] : undefined),
): Promise<Outcome> {
  const verify = args.includes('-CAfile') ? ['-verify_return_error'] : []
  const wait = input === '' ? [] : ['-ign_eof']
  return runTool('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...wait, ...verify, ...args], {
    input,
  })
}

/** The leaf that a server shows, as `openssl x509` prints it with these options. @throws when there is no handshake. */
export async function shownCertificate(
  port: number,
  { serverName, args = [] }: { serverName: string; args?: readonly string[] },
  ...print: readonly string[]
): Promise<string> {
  const { stdout, stderr } = await sClient(port, ['-servername', serverName, ...args], '')
  const pem = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(stdout)?.[0]
  if (pem === undefined) throw new Error(`no certificate was shown: ${stderr}`)
  return (await runTool('openssl', ['x509', '-noout', ...print], { input: pem })).stdout.trim()
}

/** Of the host that was named in TLS; without one, an address. */
function requestFor(serverName = '127.0.0.1'): string {
  return `GET / HTTP/1.1\r\nHost: ${serverName}\r\nConnection: close\r\n\r\n`
}

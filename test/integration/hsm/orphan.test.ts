/** The front process dies without a word: its hosts must not stay behind, logged in to the HSM. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, test } from 'vitest'

import { defaultHostEntry } from '../../../src/hsm/host-process.ts'
import { Faults } from '../../support/p11-faults.ts'
import { eventually } from '../../support/signing.ts'
import { SoftHsm } from '../../support/softhsm.ts'

const hsm = new SoftHsm()
const token = hsm.addToken('web')
const faults = new Faults(hsm, 'hsm-a')
afterAll(() => hsm.remove())

// A front process reduced to what matters here: it starts a host, tells it what to open, and prints its pid.
const FRONT = `
  import { spawn } from 'node:child_process'
  const { FrameWriter, FRAME } = await import(process.argv[1])
  const host = spawn(process.execPath, [process.argv[2]], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
  const writer = new FrameWriter()
  writer.json(FRAME.configure, JSON.parse(process.argv[3]))
  host.stdio[3].write(writer.take())
  host.stdio[3].on('data', () => {})
  console.log(host.pid)
`

test('a host ends when the front process is killed', async () => {
  const { front, host } = await startFront()
  await eventually(() => faults.calls('C_Login') > 0, 'the host has logged in')

  front.kill('SIGKILL')

  await eventually(() => !isAlive(host), 'the host is gone')
  expect(faults.calls('C_Finalize')).toBe(1)
})

test('a host whose module hangs ends when the front process is killed', async () => {
  faults.set('C_OpenSession hang')
  const calls = faults.calls('C_GetSlotList')
  const { front, host } = await startFront()
  await eventually(() => faults.calls('C_GetSlotList') > calls, 'the module is being opened')

  front.kill('SIGKILL')

  await eventually(() => !isAlive(host), 'the host is gone')
  faults.clear()
})

async function startFront(): Promise<{ front: ChildProcess; host: number }> {
  const frames = pathToFileURL(defaultHostEntry().replace(/host[/\\]main\.js$/, 'frames.js')).href
  const { name, ...options } = token.hsmOptions(faults.options)
  const configuration = JSON.stringify({ hsm: name, ...options, keys: [] })
  const args = ['--input-type=module', '-e', FRONT, frames, defaultHostEntry(), configuration]
  const front = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...faults.env },
  })
  if (front.stdout === null) throw new Error('no standard output')
  const [line] = await once(front.stdout, 'data')
  return { front, host: Number(String(line)) }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

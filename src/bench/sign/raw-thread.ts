/**
 * One session on one thread: C_SignInit and C_Sign, again and again, as bench/raw-sign.c does it.
 *
 * The module is initialized and logged in by the job's main thread; PKCS#11 logins hold for all sessions of a process.
 */

import { parentPort, workerData } from 'node:worker_threads'

import { returnValue } from '../../hsm/ckr.ts'
import { inputOf, mechanismOf } from '../../hsm/host/operation.ts'
import { Pkcs11Error, Pkcs11Module } from '../../hsm/host/pkcs11.ts'
import { testMessage } from '../../hsm/test-message.ts'
import { schemeByCodePoint } from '../../signing.ts'
import type { RawAnswer, RawOrder, RawThreadData } from './raw-messages.ts'
import { StepRecorder } from './step-recorder.ts'

const { module: path, slot }: RawThreadData = workerData
const module = new Pkcs11Module(path)
// RSA-4096 has 512 bytes.
const output = Buffer.allocUnsafeSlow(1024)
const FAILED_PAUSE_MS = 20
const ORIGIN_MS = performance.timeOrigin
const still = new Int32Array(new SharedArrayBuffer(4))

parentPort?.on('message', (order: RawOrder) => say({ kind: 'done', state: perform(order) }))
say({ kind: 'ready' })

function perform({
  codePoint,
  keyHandle,
  startAtMs,
  fromMs,
  untilMs,
}: RawOrder): ReturnType<StepRecorder['state']> {
  const scheme = schemeByCodePoint(codePoint)
  if (scheme === undefined) throw new RangeError(`no scheme ${codePoint}`)
  const recorder = new StepRecorder(fromMs, untilMs)
  const mechanism = mechanismOf(scheme)
  const input = inputOf(scheme, testMessage(scheme))
  const key = Buffer.from(keyHandle)
  let session: Buffer | undefined
  sleepUntil(startAtMs)
  for (let nowMs = now(); nowMs < untilMs; nowMs = now()) {
    try {
      session ??= module.openSession(Buffer.from(slot))
      const startedAtMs = now()
      module.signInit(session, mechanism, key)
      module.sign(session, input, output)
      recorder.signed(startedAtMs, now())
    } catch (error) {
      if (!(error instanceof Pkcs11Error)) throw error
      recorder.failed(returnValue(error.rv).name, now())
      close(session)
      session = undefined
      sleepUntil(now() + FAILED_PAUSE_MS)
    }
  }
  close(session)
  return recorder.state()
}

function close(session: Buffer | undefined): void {
  try {
    if (session !== undefined) module.closeSession(session)
  } catch {
    // It was lost with whatever failed before.
  }
}

function sleepUntil(ms: number): void {
  Atomics.wait(still, 0, 0, Math.max(0, ms - now()))
}

/** One clock for all threads. */
function now(): number {
  return ORIGIN_MS + performance.now()
}

function say(answer: RawAnswer): void {
  parentPort?.postMessage(answer)
}

/**
 * A job runs in a process of its own, on a real token; what becomes of that process is an error in words.
 *
 * The jobs are files of this folder. Needs `dist/` (npm run build:ts).
 */

import { expect, test } from 'vitest'
import { exitStatus, HsmError, SealgateError } from '../../../src/errors.ts'
import type { HsmOptions } from '../../../src/hsm/options.ts'
import { runTokenJob } from '../../../src/token/run-token-job.ts'
import { SoftHsm } from '../../support/softhsm.ts'

function run(hsm: HsmOptions, name: string, options: Partial<Parameters<typeof runTokenJob>[1]> = {}) {
  const job = new URL(`./jobs/${name}.mjs`, import.meta.url)
  return runTokenJob(hsm, { job, result: (value: unknown) => value, limitMs: 20_000, ...options })
}

async function failure(running: Promise<unknown>): Promise<unknown> {
  try {
    return { unexpected: await running }
  } catch (error) {
    return error
  }
}

test('a job is logged in, has its arguments, tells its progress, and sees no PIN and no foreign environment', async () => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('jobs')
  process.env['SEALGATE_TEST_SECRET'] = 'of somebody else'
  const told: unknown[] = []

  const result = await run(token.hsmOptions(), 'facts', {
    args: { number: 7 },
    onProgress: (value) => told.push(value),
  })
  delete process.env['SEALGATE_TEST_SECRET']

  expect(result).toMatchObject({ args: { number: 7 }, label: 'jobs', loggedIn: true, hsm: { name: 'hsm-a' } })
  expect(told).toEqual(['open'])
  expect(JSON.stringify(result)).toContain('SOFTHSM2_CONF')
  expect(JSON.stringify(result)).not.toContain('SEALGATE_TEST_SECRET')
  expect(JSON.stringify(result)).not.toContain(token.pin)
})

test('a job may do without the login, and then needs no PIN', async () => {
  using softHsm = new SoftHsm()
  const hsm = softHsm.addToken('jobs').hsmOptions({ pin: { file: '/nowhere/pin' } })

  expect(await run(hsm, 'without-login')).toMatchObject({ loggedIn: false })
  expect(await failure(run(hsm, 'facts'))).toMatchObject({ code: 'ERR_HSM_PIN' })
})

test('a wrong PIN is refused in words that do not quote it', async () => {
  using softHsm = new SoftHsm()
  const token = softHsm.addToken('jobs')
  const wrong = token.hsmOptions({ pin: { env: 'SEALGATE_TEST_PIN' } })
  process.env['SEALGATE_TEST_PIN'] = 'wrong-pin'
  const first = await failure(run(wrong, 'facts'))
  delete process.env['SEALGATE_TEST_PIN']

  expect(first).toMatchObject({ code: 'ERR_HSM_PIN', call: 'C_Login', rv: 0xa0 })
  expect(String(first)).toContain('tried once')
  expect(String(first)).not.toContain('wrong-pin')
  expect(await run(token.hsmOptions(), 'facts')).toMatchObject({ loggedIn: true })
})

test('a return value of PKCS#11 arrives as a number, with the call and the exit status of an HSM that is not available', async () => {
  using softHsm = new SoftHsm()

  const error = await failure(run(softHsm.addToken('jobs').hsmOptions(), 'sign-with-nothing'))

  expect(error).toBeInstanceOf(HsmError)
  expect(error).toMatchObject({ call: 'C_Sign', rv: 0x91, hsm: 'hsm-a' })
  expect(exitStatus(error)).toBe(69)
})

test.each([
  [0x31, /C_GenerateKeyPair returned CKR_DEVICE_MEMORY; the token is full: destroy keys/],
  [0xb5, /CKR_SESSION_READ_ONLY; the token gives only read-only sessions/],
  [0xe2, /CKR_TOKEN_WRITE_PROTECTED; the token is write-protected/],
  [0x70, /CKR_MECHANISM_INVALID; this token cannot do that: choose another kind of key/],
])('return value %i comes with its cure', async (rv, text) => {
  using softHsm = new SoftHsm()

  const error = await failure(run(softHsm.addToken('jobs').hsmOptions(), 'refused', { args: { rv } }))

  expect(String(error)).toMatch(text)
  expect(error).toMatchObject({ rv, call: 'C_GenerateKeyPair' })
  expect(exitStatus(error)).toBe(69)
})

test('a module that does not load, and a token that is not there, say what to do', async () => {
  using softHsm = new SoftHsm()
  const hsm = softHsm.addToken('jobs').hsmOptions()

  const noModule = await failure(run({ ...hsm, module: '/nowhere/libvendor.so' }, 'facts'))
  const noToken = await failure(run({ ...hsm, token: { label: 'jobbs' } }, 'facts'))

  expect(noModule).toMatchObject({ code: 'ERR_HSM_MODULE' })
  expect(String(noModule)).toContain('ldd /nowhere/libvendor.so')
  expect(noToken).toMatchObject({ code: 'ERR_HSM_TOKEN_NOT_FOUND' })
  expect(String(noToken)).toContain('"jobs"')
})

test('a crash is an error with the signal and the last words of the module', async () => {
  using softHsm = new SoftHsm()

  const error = await failure(run(softHsm.addToken('jobs').hsmOptions(), 'crash'))

  expect(error).toMatchObject({ code: 'ERR_TOKEN_CRASHED' })
  expect(String(error)).toMatch(/SIGSEGV.*vendor: assertion failed/)
  expect(exitStatus(error)).toBe(69)
})

test('a hang is ended after its limit, which begins anew with every sign of life', async () => {
  using softHsm = new SoftHsm()
  const pids = new Set<unknown>()
  const started = performance.now()

  const error = await failure(
    run(softHsm.addToken('jobs').hsmOptions(), 'hang', {
      args: { signs: 6, everyMs: 500 },
      limitMs: 4000,
      onProgress: (value) => pids.add(typeof value === 'object' && value && 'pid' in value && value.pid),
    }),
  )

  expect(error).toMatchObject({ code: 'ERR_TOKEN_TIMEOUT' })
  expect(performance.now() - started).toBeGreaterThan(6500)
  const [pid] = pids
  expect(() => process.kill(Number(pid), 0)).toThrow('ESRCH')
})

test('a job that is aborted is killed and rejects with the reason', async () => {
  using softHsm = new SoftHsm()
  const abort = new AbortController()
  const reason = new SealgateError('ERR_USAGE', 'enough')

  const error = await failure(
    run(softHsm.addToken('jobs').hsmOptions(), 'hang', {
      args: { signs: 1, everyMs: 0 },
      signal: abort.signal,
      onProgress: () => abort.abort(reason),
    }),
  )

  expect(error).toBe(reason)
})

test('what nobody foresaw is a bug, and says so by its exit status', async () => {
  using softHsm = new SoftHsm()

  const error = await failure(run(softHsm.addToken('jobs').hsmOptions(), 'throw'))

  expect(String(error)).toContain('nobody foresaw it')
  expect(exitStatus(error)).toBe(70)
})

test('a process that the module leaves behind holds nobody up', async () => {
  using softHsm = new SoftHsm()
  const startedMs = performance.now()

  const left = await run(softHsm.addToken('jobs').hsmOptions(), 'leaves-a-process')

  expect(performance.now() - startedMs).toBeLessThan(20_000)
  process.kill(Number(left))
})

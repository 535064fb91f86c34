/** Every error code is used, explained and has an effect; what a person reads names the place. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import {
  CODES,
  ConfigError,
  exitStatus,
  HsmError,
  httpStatus,
  problemText,
  RequestError,
  TlsError,
  UpstreamError,
} from '../../src/errors.ts'

const SRC = fileURLToPath(new URL('../../src', import.meta.url))
const codes = Object.keys(CODES)

test('every code is used by some part', () => {
  const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter(
      (file) => /\.(?:ts|cc|h)$/.test(file) && file !== 'errors.ts' && !file.endsWith('error-reference.ts'),
    )
    .map((file) => readFileSync(join(SRC, file), 'utf8'))

  const unused = codes.filter((code) => !sources.some((source) => new RegExp(`['"]${code}['"]`).test(source)))

  expect(unused).toEqual([])
})

test('every code is explained in config/README.md', () => {
  const reference = readFileSync(new URL('../../config/README.md', import.meta.url), 'utf8')

  expect(codes.filter((code) => !reference.includes(`\`${code}\``))).toEqual([])
})

test('every code that parts use is declared', () => {
  const used = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => readFileSync(join(SRC, file), 'utf8').match(/'ERR_[A-Z0-9_]*[A-Z0-9]'/g) ?? [])
    .map((quoted) => quoted.slice(1, -1))
    // Node's own codes have the same prefix.
    .filter((code) => /^ERR_(?:USAGE|CONFIG|NATIVE|HSM|UPSTREAM|REQUEST)/.test(code))

  expect([...new Set(used)].filter((code) => !codes.includes(code))).toEqual([])
})

test('exit and HTTP statuses follow the code, and an unforeseen error is 70 and 500', () => {
  expect(exitStatus(new ConfigError([]))).toBe(78)
  expect(exitStatus(new TlsError('ERR_TLS_LISTEN', 'in use'))).toBe(69)
  // A token that signs wrongly, or too late, is no bug of ours.
  for (const code of ['ERR_HSM_BAD_SIGNATURE', 'ERR_HSM_SIGN_TIMEOUT', 'ERR_HSM_SESSIONS_EXHAUSTED'] as const)
    expect(exitStatus(new HsmError(code, 'no'))).toBe(69)
  expect(httpStatus(new RequestError('ERR_REQUEST_NO_ROUTE', 'no route'))).toBe(404)
  expect(httpStatus(new UpstreamError('ERR_UPSTREAM_TIMEOUT', 'late'))).toBe(504)
  expect(exitStatus(new TypeError('oops'))).toBe(70)
  expect(httpStatus(new TypeError('oops'))).toBe(500)
})

test('an HSM error keeps its facts, and says who is at fault and whether another member may be tried', () => {
  const cause = new Error('CKR_DEVICE_ERROR')
  const error = new HsmError('ERR_HSM_FAILED', 'C_Sign failed', { hsm: 'a', rv: 0x30, call: 'C_Sign', cause })

  expect(error).toMatchObject({ name: 'HsmError', fault: 'hsm', retryable: true, hsm: 'a', rv: 0x30, cause })
  expect(new HsmError('ERR_HSM_REFUSED', 'refused').retryable).toBe(false)
})

test('a problem reads file:line:column: path: message, and leaves out what it does not know', () => {
  const problem = {
    code: 'ERR_CONFIG_VALUE',
    file: '/etc/s.yaml',
    path: 'log.level',
    message: 'is wrong',
  } as const

  expect(problemText({ ...problem, line: 3, column: 7 })).toBe('/etc/s.yaml:3:7: log.level: is wrong')
  expect(problemText({ ...problem, path: '' })).toBe('/etc/s.yaml: is wrong')
})

test('a configuration error lists every problem and takes the code of the first', () => {
  const problem = { file: 'f', path: 'p', message: 'm' }
  const error = new ConfigError([
    { ...problem, code: 'ERR_CONFIG_SECRET' },
    { ...problem, code: 'ERR_CONFIG_VALUE' },
  ])

  expect(error.code).toBe('ERR_CONFIG_SECRET')
  expect(error.message).toBe('f: p: m\nf: p: m')
})

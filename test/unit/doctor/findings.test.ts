/** From facts to findings, for facts that no token in a test can be made to tell. */

import { expect, test } from 'vitest'

import { Examination } from '../../../src/doctor/examine.ts'
import type { Fact, TokenFact } from '../../../src/doctor/facts.ts'
import { type Finding, Findings, statusOf } from '../../../src/doctor/finding.ts'
import { tokenClockFindings } from '../../../src/doctor/findings/clock.ts'
import { keyFindings } from '../../../src/doctor/findings/keys.ts'
import { machineFindings } from '../../../src/doctor/findings/machine.ts'
import { mechanismFindings } from '../../../src/doctor/findings/mechanisms.ts'
import { percentiles } from '../../../src/doctor/findings/percentiles.ts'
import { quirkFindings } from '../../../src/doctor/findings/quirks.ts'
import { softwareFindings } from '../../../src/doctor/findings/software.ts'
import { sessionFindings, tokenFindings } from '../../../src/doctor/findings/tokens.ts'
import { coreQuota, cpuFlags, type Machine, openFiles } from '../../../src/doctor/machine.ts'

const INITIALISED = 0x40c // token initialised, login required, user PIN initialised

test('fewer sessions than configured is a warning with the number that works', () => {
  const found = judge(sessionFindings, [slots({ maxSessions: 16 })], { sessions: 32 })

  expect(found).toMatchObject([
    { level: 'warning', id: 'token.sessions', cure: expect.stringContaining('sessions: 15') },
  ])
})

test('the read-write limit counts too, and room for the login as well', () => {
  expect(
    judge(sessionFindings, [slots({ maxSessions: 100, maxReadWriteSessions: 9 })], { sessions: 8 })[0]?.level,
  ).toBe('ok')
  expect(
    judge(sessionFindings, [slots({ maxSessions: 100, maxReadWriteSessions: 8 })], { sessions: 8 })[0]?.level,
  ).toBe('warning')
})

test('RSA without PSS is a warning where there is an RSA key, a note elsewhere', () => {
  const facts = [slots({}), mechanisms(0x0001, 0x1041)]
  const with_ = judge(
    (examination, findings) => mechanismFindings(examination, new Set(['rsa']), findings),
    facts,
  )
  const without = judge(
    (examination, findings) => mechanismFindings(examination, new Set(['ec']), findings),
    facts,
  )

  expect(with_.find(({ id }) => id === 'token.no-pss')?.level).toBe('warning')
  expect(without.find(({ id }) => id === 'token.no-pss')?.level).toBe('note')
  expect(with_.find(({ message }) => message.startsWith('RSA:'))?.message).not.toContain('pss')
})

test('a key type that the token has no mechanism for is an error where it is used', () => {
  const found = judge(
    (examination, findings) => mechanismFindings(examination, new Set(['ed25519']), findings),
    [slots({}), mechanisms(0x1041)],
  )

  expect(found.filter(({ level }) => level === 'error')).toMatchObject([
    { id: 'token.no-scheme', message: expect.stringContaining('Ed25519') },
  ])
})

test('a mechanism that is listed and may not sign brings no scheme', () => {
  const found = judge(
    (examination, findings) => mechanismFindings(examination, new Set(['ec']), findings),
    [slots({}), { fact: 'mechanisms', list: [{ type: 0x1041, signs: false, minBits: 256, maxBits: 521 }] }],
  )

  expect(found.map(({ id }) => id)).toContain('token.mechanism-does-not-sign')
  expect(found.filter(({ level, id }) => level === 'error' && id === 'token.no-scheme')).toHaveLength(3)
})

test('tokens with one label are told apart by what to choose instead', () => {
  const twin = token({ slot: 2, serial: 'b' })
  const found = judge(tokenFindings, [{ fact: 'slots', slots: 3, tokens: [token({}), twin] }])

  expect(found.find(({ id }) => id === 'token.twins')?.cure).toContain('serial')
})

test.each([
  [{ extractable: true }, 'error', 'key.extractable'],
  [{ sensitive: false }, 'error', 'key.not-sensitive'],
  [{ neverExtractable: false }, 'note', 'key.imported'],
  [{ sensitive: 'unknown', extractable: 'unknown' }, 'note', 'key.protection-unknown'],
  [{ sign: false }, 'error', 'key.may-not-sign'],
  [{ alwaysAuthenticate: true }, 'warning', 'key.always-authenticate'],
  [{ unwrap: true }, 'note', 'key.more-than-sign'],
] as const)('a key with %j is a finding of level %s: %s', (attributes, level, id) => {
  const found = judge((examination, findings) => keyFindings(examination, 2000, findings), [key(attributes)])

  expect(found.find((finding) => finding.id === id)?.level).toBe(level)
})

test('a latency that eats half the deadline is a warning', () => {
  const slow = [...Array<number>(90).fill(20), ...Array<number>(10).fill(1500)]
  const facts = (milliseconds: number[]): Fact[] => [
    key({}),
    { fact: 'latency', key: 'web', scheme: 0x0403, milliseconds },
  ]
  const level = (milliseconds: number[]) =>
    judge((examination, findings) => keyFindings(examination, 2000, findings), facts(milliseconds)).find(
      ({ id }) => id.startsWith('signature.'),
    )?.id

  expect(level(slow)).toBe('signature.slow')
  expect(level([1, 1, 2])).toBe('signature.latency')
})

test('percentiles are values that were measured', () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index)

  expect(percentiles(values)).toEqual({ p50: 50, p99: 99 })
  expect(percentiles([7])).toEqual({ p50: 7, p99: 7 })
})

test('a token’s clock that is off by more than half a minute is a warning', () => {
  const nowMs = Date.parse('2026-11-22T12:00:00Z')
  const level = (offsetMs: number) =>
    judge(
      (examination, findings) => tokenClockFindings(examination, nowMs, findings),
      [slots({ clockMs: nowMs + offsetMs })],
    )[0]?.level

  expect([level(5_000), level(-90_000), level(90_000)]).toEqual(['ok', 'warning', 'warning'])
})

test('quirks that depend on the configuration come only with it', () => {
  const library: Fact = {
    fact: 'library',
    manufacturer: 'Yubico (www.yubico.com)',
    description: 'YubiHSM PKCS#11 Library',
    version: '2.4',
    cryptoki: '2.40',
  }
  const ids = (sessions: number) => judge(quirkFindings, [library], { sessions }).map(({ id }) => id)

  expect(ids(32)).toContain('quirk.yubihsm.sessions')
  expect(ids(4)).not.toContain('quirk.yubihsm.sessions')
})

test('Node and OpenSSL past their support are warnings, with the day', () => {
  const software = { node: '20.20.2', openssl: '3.0.19', postQuantum: false, addonProblem: undefined }
  const levels = (day: string) => {
    const findings = new Findings('machine', 'machine')
    softwareFindings(software, Date.parse(day), findings)
    return findings.list.filter(({ level }) => level === 'warning').map(({ id }) => id)
  }

  expect(levels('2026-04-30T12:00:00Z')).toEqual([])
  expect(levels('2026-05-02')).toEqual(['software.node'])
  expect(levels('2026-09-09')).toEqual(['software.node', 'software.openssl'])
})

test('an addon that does not load is an error', () => {
  const findings = new Findings('machine', 'machine')
  softwareFindings(
    { node: '24.1.0', openssl: '3.5.1', postQuantum: true, addonProblem: 'it is not there' },
    Date.parse('2026-01-01'),
    findings,
  )

  expect(findings.list.filter(({ level }) => level === 'error').map(({ id }) => id)).toEqual([
    'software.addon',
  ])
})

test.each([
  [{ nowMs: Date.parse('2020-01-01') }, 'error', 'machine.clock'],
  [{ clockSynchronized: false }, 'warning', 'machine.clock'],
  [{ coreQuota: 1 }, 'warning', 'machine.cores'],
  [{ openFiles: 1024 }, 'warning', 'machine.open-files'],
  [{ cpuFlags: new Set(['sse2']) }, 'warning', 'machine.processor'],
] satisfies [Partial<Machine>, string, string][])('a machine with %j: %s %s', (change, level, id) => {
  const found = judgeMachine({ ...MACHINE, ...change }, undefined)

  expect(judgeMachine(MACHINE, undefined).every((finding) => finding.level === 'ok')).toBe(true)
  expect(found.find((finding) => finding.id === id)?.level).toBe(level)
})

test('open files are held against the connections that listeners admit', () => {
  const cure = judgeMachine({ ...MACHINE, openFiles: 10_000 }, 5_000).find(
    ({ id }) => id === 'machine.open-files',
  )

  expect(cure).toMatchObject({ level: 'warning', cure: expect.stringContaining('20256') })
  expect(
    judgeMachine({ ...MACHINE, openFiles: 30_000 }, 5_000).find(({ id }) => id === 'machine.open-files')
      ?.level,
  ).toBe('ok')
})

test('what Linux says of itself is read', () => {
  expect(coreQuota('150000 100000\n')).toBe(1.5)
  expect(coreQuota('max 100000\n')).toBeUndefined()
  expect(coreQuota(undefined)).toBeUndefined()
  expect(
    openFiles(
      'Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n',
    ),
  ).toBe(1024)
  expect(openFiles('Max open files            unlimited            unlimited            files\n')).toBe(
    Number.POSITIVE_INFINITY,
  )
  expect(cpuFlags('model name\t: x\nflags\t\t: fpu aes avx2\n')).toEqual(new Set(['fpu', 'aes', 'avx2']))
  expect(cpuFlags('Features\t: fp asimd aes pmull\n').has('pmull')).toBe(true)
})

test('the exit status is that of the gravest kind', () => {
  const finding = (level: Finding['level'], about: Finding['about']): Finding => ({
    level,
    about,
    id: 'x',
    subject: 'x',
    message: 'x',
  })

  expect(statusOf([finding('warning', 'hsm'), finding('ok', 'machine')])).toBe(0)
  expect(statusOf([finding('error', 'machine')])).toBe(69)
  expect(statusOf([finding('error', 'hsm'), finding('error', 'configuration')])).toBe(78)
})

function judge(
  look: (examination: Examination, findings: Findings) => void,
  facts: readonly Fact[],
  hsm: { readonly sessions?: number } = {},
): readonly Finding[] {
  const examination = new Examination({
    hsm: {
      name: 'hsm-a',
      module: '/x/vendor.so',
      token: { label: 'web' },
      pin: { file: '/x/pin' },
      userType: 1,
      sessions: 8,
      env: {},
      ...hsm,
    },
    keys: null,
    anyToken: false,
    login: true,
  })
  for (const fact of facts) examination.add(fact)
  examination.add({ fact: 'chosen', slot: 1 })
  const findings = new Findings('hsm', 'hsm-a')
  look(examination, findings)
  return findings.list
}

function judgeMachine(machine: Machine, connections: number | undefined): readonly Finding[] {
  const findings = new Findings('machine', 'machine')
  machineFindings(machine, { threads: { tls: 2, http: 2 }, connections, filesPerConnection: 4 }, findings)
  return findings.list
}

const MACHINE: Machine = {
  nowMs: Date.parse('2026-11-22'),
  builtMs: Date.parse('2026-11-01'),
  clockSynchronized: true,
  cores: 2,
  coreQuota: undefined,
  openFiles: 65_536,
  cpuFlags: new Set(['aes', 'pclmulqdq', 'avx2']),
  architecture: 'x64',
}

function token(changes: Partial<TokenFact>): TokenFact {
  return {
    slot: 1,
    label: 'web',
    serial: 'a',
    manufacturer: 'M',
    model: 'T',
    flags: INITIALISED,
    maxSessions: null,
    maxReadWriteSessions: null,
    clockMs: null,
    ...changes,
  }
}

function slots(changes: Partial<TokenFact>): Fact {
  return { fact: 'slots', slots: 1, tokens: [token(changes)] }
}

function mechanisms(...types: readonly number[]): Fact {
  return {
    fact: 'mechanisms',
    list: types.map((type) => ({ type, signs: true, minBits: 256, maxBits: 4096 })),
  }
}

function key(changes: Partial<Extract<Fact, { fact: 'key' }>>): Fact {
  return {
    fact: 'key',
    key: 'web',
    label: 'web',
    idHex: '01',
    spki: null,
    compared: null,
    sign: true,
    sensitive: true,
    alwaysSensitive: true,
    extractable: false,
    neverExtractable: true,
    alwaysAuthenticate: false,
    local: true,
    decrypt: false,
    unwrap: false,
    ...changes,
  }
}

/** What `sealgate keys` refuses, in which words, with which exit status; and that nothing has happened then. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { KeyOwner } from '../support/key-owner.ts'
import { nodeUnderTest } from '../support/npm-start.ts'
import { program, sealgateCommand } from '../support/sealgate.ts'
import { runTool } from '../support/tools.ts'

let owner: KeyOwner

beforeEach(async () => {
  owner = await KeyOwner.create(NOBODY)
})

afterEach(() => owner?.[Symbol.dispose]())

test('a certificate that does not fit is refused, and the place of the old one stays as it is', async () => {
  await owner.birth()
  const before = readFileSync(join(owner.directory, 'www.pem'), 'utf8')
  await owner.keys('generate', '--hsm', 'hsm-a', '--label', 'other')
  await owner.keys(
    'csr',
    '--label',
    'other',
    '--san',
    'dns:localhost',
    '--san',
    'dns:www.example.com',
    '--out',
    join(owner.directory, 'other.csr'),
  )
  await owner.certify(join(owner.directory, 'other.csr'), 'other.pem')
  await owner.certify(join(owner.directory, 'www.csr'), 'expired.pem', [
    '-not_before',
    '20200101000000Z',
    '-not_after',
    '20200201000000Z',
  ])
  await owner.keys(
    'csr',
    '--label',
    'www',
    '--san',
    'dns:localhost',
    '--out',
    join(owner.directory, 'fewer.csr'),
  )
  await owner.certify(join(owner.directory, 'fewer.csr'), 'fewer.pem')
  await owner.keys(
    'csr',
    '--label',
    'www',
    '--san',
    'dns:localhost',
    '--san',
    'dns:*.example.com',
    '--out',
    join(owner.directory, 'wildcard.csr'),
  )
  await owner.certify(join(owner.directory, 'wildcard.csr'), 'wildcard.pem')
  writeFileSync(join(owner.directory, 'garbage.pem'), 'no certificate')
  writeFileSync(join(owner.directory, 'huge.pem'), Buffer.alloc(10_000_000, 'x'))
  const ca = readFileSync(join(owner.directory, 'ca.pem'), 'utf8')
  writeFileSync(join(owner.directory, 'order.pem'), ca + before)

  for (const [file, status, reason] of [
    ['other.pem', 78, /is for another key than "www"/],
    ['expired.pem', 78, /expired on 2020-02-01/],
    ['fewer.pem', 78, /has not the name www\.example\.com .* --fewer-names/],
    ['garbage.pem', 78, /holds no certificate/],
    ['huge.pem', 78, /is too large/],
    ['order.pem', 78, /put the leaf first/],
    ['nowhere.pem', 78, /there is no such file/],
    ['ca.key', 78, /holds a private key/],
  ] as const) {
    expect(await owner.refused(['import-cert', '--chain', join(owner.directory, file)], status)).toMatch(
      reason,
    )
  }
  expect(readFileSync(join(owner.directory, 'www.pem'), 'utf8')).toBe(before)
  expect(readdirSync(owner.directory).filter((name) => name.endsWith('.bak'))).toEqual([])
  // A wildcard is for the name that it stands for.
  await owner.keys('import-cert', '--chain', join(owner.directory, 'wildcard.pem'))
  await owner.keys('import-cert', '--chain', join(owner.directory, 'fewer.pem'), '--fewer-names')
  expect(readdirSync(owner.directory).filter((name) => /^www\.pem\..*\.bak$/.test(name))).toHaveLength(2)
}, 180_000)

test('what is wrong is said with the cure, without a stack trace, and nothing happens', async () => {
  await owner.birth()
  const bare = ['--module', owner.softHsm.module, '--env', `SOFTHSM2_CONF=${owner.softHsm.conf}`]
  const wrongPin = join(owner.directory, 'wrong.pin')
  writeFileSync(wrongPin, 'wrong\n')

  for (const [args, status, reason] of [
    [
      ['list', '--config', owner.config, '--hsm', 'hsm-c'],
      64,
      /there is no hsm "hsm-c" .*did you mean "hsm-a"/,
    ],
    [['list', '--config', join(owner.directory, 'nowhere.yaml')], 78, /there is no such file/],
    [['list'], 64, /--config FILE, or --module FILE/],
    [['list', ...bare, '--token', 'web'], 64, /--pin-file FILE is missing/],
    [
      ['list', ...bare, '--token', 'wbe', '--pin-file', owner.token.pinFile],
      69,
      /no token with label "wbe".*shows "web"/,
    ],
    [['list', ...bare, '--token', 'web', '--pin-file', wrongPin], 69, /refused the PIN .*tried once/],
    [['list', '--config', owner.config, '--token', 'x'], 64, /--token and --config exclude each other/],
    [['list', '--config', owner.config, '--jsn'], 64, /unknown option '--jsn'\n\(Did you mean --json/],
    [['generate', '--config', owner.config], 64, /--label LABEL is missing/],
    [['generate', '--config', owner.config, '--label', 'www'], 64, /has a key "www", id .* already/],
    [
      ['generate', '--config', owner.config, '--label', 'x', '--type', 'rsa-2084'],
      64,
      /did you mean "rsa-2048"/,
    ],
    [
      ['csr', '--config', owner.config, '--label', 'ww', '--san', 'a.example'],
      69,
      /no key "ww" .*it holds: "www"/,
    ],
    [['csr', '--config', owner.config, '--label', 'www'], 64, /--san is missing/],
    [['csr', '--config', owner.config, '--label', 'www', '--san', 'dns:a b'], 64, /is no DNS name/],
    [
      ['csr', '--config', owner.config, '--label', 'www', '--san', 'a.example', '--out', '/nowhere/x.csr'],
      69,
      /its folder is not there/,
    ],
    [
      ['self-sign', '--config', owner.config, '--label', 'www', '--san', 'a.example', '--days', 'ten'],
      64,
      /whole number of days/,
    ],
    [
      ['destroy', '--config', owner.config, '--label', 'www', '--confirm', 'www'],
      78,
      /uses the key "www".*certificates\[0\]/,
    ],
    [
      ['rotate', '--config', owner.config, '--certificate', 'ww.example.com'],
      64,
      /did you mean "www\.example\.com"/,
    ],
    [['rotate', '--config', owner.config, '--overlap', '7'], 64, /give a duration with its unit/],
    [
      ['rotate', '--config', owner.config, '--state', '/nowhere'],
      69,
      /states of rotations cannot be looked for: .*'\/nowhere'/,
    ],
    [['lst'], 64, /unknown command 'lst'/],
  ] as const) {
    const outcome = await sealgateCommand(['keys', ...args])
    expect({ args, status: outcome.status, stderr: outcome.stderr }).toEqual({
      args,
      status,
      stderr: expect.stringMatching(reason),
    })
    expect(outcome.stderr).not.toMatch(/\n {4}at /)
  }
  const { hsms } = await owner.keysJson('list')
  expect(hsms[0].keys).toHaveLength(1)
}, 180_000)

test('a wrong PIN is tried once, though two members lead to the token', async () => {
  writeFileSync(owner.token.pinFile, 'wrong\n')

  const { status, stderr } = await sealgateCommand(['keys', 'list', '--config', owner.config])

  expect(status).toBe(69)
  expect(stderr.match(/tried once/g)).toHaveLength(2)
  // Two members say so, from one attempt: the second has the words of the first.
  expect(stderr.match(/hsm "hsm-a"/g)).toHaveLength(2)
})

test('a key is in use also where another module leads to its token', async () => {
  const module = join(owner.directory, 'another.so')
  copyFileSync(owner.softHsm.module, module)
  await owner.birth()
  const { pinFile } = owner.token
  owner.writeConfig('', { module, pinFile })
  const destroy = ['destroy', '--hsm', 'hsm-a', '--label', 'www', '--confirm', 'www']

  expect(await owner.refused(destroy, 78)).toMatch(/uses the key "www".*certificates\[0\]/)

  // It cannot be asked, and counts.
  writeFileSync(module, 'no module')
  expect(await owner.refused(destroy, 78)).toMatch(/uses the key "www".*certificates\[0\]/)

  // Of what nothing uses nobody else is asked.
  await owner.keys('generate', '--hsm', 'hsm-a', '--label', 'old')
  await owner.keys('destroy', '--hsm', 'hsm-a', '--label', 'old', '--confirm', 'old')

  const wrongPin = join(owner.directory, 'wrong.pin')
  writeFileSync(wrongPin, 'wrong\n')
  owner.writeConfig('', { module: owner.softHsm.module, pinFile: wrongPin })
  expect(await owner.refused(destroy, 69)).toMatch(/hsm "hsm-b".*refused the PIN .*tried once/)
})

test.each([
  ['Ctrl-C', '\x03'],
  ['Ctrl-D', '\x04'],
])('%s at the question destroys nothing, and is no bug', async (_, key) => {
  await owner.keys('generate', '--label', 'old')
  const command = [nodeUnderTest, program, 'keys', 'destroy', '--config', owner.config, '--label', 'old']

  // A terminal, and somebody who waits for the question.
  const typed = spawn('script', ['-qec', command.join(' '), '/dev/null'])
  let shown = ''
  typed.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (!shown.includes('once more') && `${shown}${text}`.includes('once more')) typed.stdin.write(key)
    shown += text
  })
  const [status] = await once(typed, 'close')

  expect({ status, shown }).toEqual({ status: 64, shown: expect.stringContaining('nothing was destroyed') })
  expect((await owner.keysJson('list')).hsms[0].keys).toHaveLength(1)
})

test('what was done and could not be recorded is said, and so is why something was not done', async () => {
  owner.writeConfig('audit: { file: audit.jsonl }')
  await owner.keys('generate', '--label', 'www')
  const journal = join(owner.directory, 'keys-audit.jsonl')
  const records = readFileSync(journal, 'utf8')
  // The disk takes the start of the next command, and a part of what follows.
  const room = records.length + records.indexOf('\n') + 100
  const generate = (label: string) => {
    const command = ['keys', 'generate', '--config', owner.config, '--label', label]
    return runTool('prlimit', [`--fsize=${room}`, nodeUnderTest, program, ...command])
  }

  const done = await generate('web')
  writeFileSync(journal, records)
  const refused = await generate('www')

  expect(done.status).toBe(69)
  expect(done.stderr).toMatch(
    /it was done all the same \(generate .*"label":"web","id":"[0-9a-f]{16}".*\): .*keys-audit\.jsonl cannot be written: EFBIG/,
  )
  expect(refused).toMatchObject({
    status: 64,
    stderr: expect.stringMatching(/has a key "www", id .* already/),
  })
  expect((await owner.keysJson('list')).hsms[0].keys).toHaveLength(2)
})

test.each(['list', 'generate', 'csr', 'self-sign', 'import-cert', 'rotate', 'destroy'])(
  'keys %s --help has examples',
  async (command) => {
    const { status, stdout } = await sealgateCommand(['keys', command, '--help'])

    expect(status).toBe(0)
    expect(stdout).toContain(`$ sealgate keys ${command} `)
  },
)

/** No proxy runs here, so nobody asks the upstream. */
const NOBODY = 9

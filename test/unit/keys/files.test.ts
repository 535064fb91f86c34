import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createFile, refuseUnwritable, replaceFile } from '../../../src/keys/files.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealgate-files-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

test('what is replaced is kept beside it, each time, and its mode stays', () => {
  const file = join(folder, 'web.pem')
  writeFileSync(file, 'first', { mode: 0o640 })

  const backups = ['second', 'third'].map((content) => replaceFile(file, content))

  expect(readFileSync(file, 'utf8')).toBe('third')
  expect(statSync(file).mode & 0o777).toBe(0o640)
  expect(backups.map((backup) => readFileSync(backup ?? '', 'utf8'))).toEqual(['first', 'second'])
  expect(readdirSync(folder)).toHaveLength(3)
})

test('owner and mode stay whoever replaces it, and a new file can have those of another', () => {
  const [file, beside] = [join(folder, 'sealgate.yaml'), join(folder, 'new.pem')]
  writeFileSync(file, 'first')
  // Only root can give files away; anybody else keeps what is theirs.
  const owner = process.getuid?.() === 0 ? 12_345 : statSync(file).uid
  chownSync(file, owner, statSync(file).uid === owner ? statSync(file).gid : owner)
  chmodSync(file, 0o664)
  const before = statSync(file)
  const umask = process.umask(0o077)
  try {
    replaceFile(file, 'second')
    replaceFile(beside, 'new', file)
  } finally {
    process.umask(umask)
  }

  for (const each of [file, beside]) {
    const { uid, gid, mode } = statSync(each)
    expect({ uid, gid, mode }).toEqual({ uid: before.uid, gid: before.gid, mode: before.mode })
  }
})

test('a symbolic link stays one, and its target is what changes', () => {
  mkdirSync(join(folder, 'archive'))
  const [target, link] = [join(folder, 'archive/web.pem'), join(folder, 'web.pem')]
  writeFileSync(target, 'old')
  symlinkSync(target, link)

  replaceFile(link, 'new')

  expect(lstatSync(link).isSymbolicLink()).toBe(true)
  expect(readFileSync(target, 'utf8')).toBe('new')
})

test('a new file needs no copy', () => {
  expect(replaceFile(join(folder, 'new.pem'), 'x')).toBeUndefined()
  expect(readdirSync(folder)).toEqual(['new.pem'])
})

test('what is there is never written over by a request', () => {
  const file = join(folder, 'web.csr')
  createFile(file, 'sent to the CA')

  expect(() => createFile(file, 'another')).toThrow(/web\.csr cannot be written: it exists already/)
  expect(() => refuseUnwritable(file)).toThrow(/exists already/)
  expect(readFileSync(file, 'utf8')).toBe('sent to the CA')
})

test('what a killed process was building goes with the next write of that file, and nothing else does', () => {
  const file = join(folder, 'web.pem')
  const { pid: dead } = spawnSync('true')
  const left = [`.web.pem.building-${dead}`, `.web.pem.probe-${dead}`, `.web.pem.building-${process.pid}`]
  const others = [
    `.web.pem.building-${process.ppid}`,
    `.another.pem.building-${dead}`,
    `web.pem.building-${dead}`,
    `.web.pem.building-${dead}.bak`,
  ]
  for (const name of [...left, ...others]) writeFileSync(join(folder, name), 'half')

  createFile(file, 'whole')

  expect(readdirSync(folder).sort()).toEqual([...others, 'web.pem'].sort())
})

test.each([
  ['nowhere/web.pem', /its folder is not there/],
  ['.', /it is (?:a directory|not a file)/],
])('%s is refused and nothing is left behind', (name, reason) => {
  expect(() => refuseUnwritable(join(folder, name), { mayExist: true })).toThrow(reason)
  expect(() => replaceFile(join(folder, name), 'x')).toThrow(reason)
  expect(readdirSync(folder)).toEqual([])
})

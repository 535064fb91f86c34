/** Files that a keys command writes: whole or not at all, and never over something without a copy of it. */

import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

import { SealgateError } from '../errors.ts'

/**
 * Readers see the old file or the new one. The mode of a file that is replaced stays, and its owner as far as this user may
 * give files away: the proxy that reads it is seldom the user who is here.
 *
 * @param like whose owner and mode a file gets that was not there.
 * @returns the copy of what was there; undefined when there was nothing.
 * @throws {SealgateError} `ERR_KEYS_FILE`; then nothing has changed.
 */
export function replaceFile(file: string, content: string, like = file): string | undefined {
  return inWords(file, () => {
    const before = statSync(file, { throwIfNoEntry: false })
    if (before === undefined) {
      writeWhole(file, content, statSync(like, { throwIfNoEntry: false }))
      return undefined
    }
    if (!before.isFile()) throw new Error('it is not a file')
    // A symbolic link stays one.
    const real = realpathSync(file)
    const backup = backUp(real)
    writeWhole(real, content, before)
    return backup
  })
}

/** @throws {SealgateError} `ERR_KEYS_FILE`, also when there is a file: what was given to a CA may be needed again. */
export function createFile(file: string, content: string): void {
  inWords(file, () => {
    if (existsSync(file)) throw new Error('it exists already; choose another name, or remove it')
    writeWhole(file, content)
  })
}

/** Without a copy: for files that nobody but this program writes. @throws {SealgateError} `ERR_KEYS_FILE`. */
export function overwriteFile(file: string, content: string): void {
  inWords(file, () => writeWhole(file, content))
}

/** @throws {SealgateError} `ERR_KEYS_FILE` when a file could not be made there; asked before the HSM is asked for anything. */
export function refuseUnwritable(file: string, { mayExist = false } = {}): void {
  inWords(file, () => {
    if (!mayExist && existsSync(file)) throw new Error('it exists already; choose another name, or remove it')
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true)
      throw new Error('it is a directory')
    removeLeftovers(file)
    const probe = besides(file, 'probe')
    closeSync(openSync(probe, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600))
    rmSync(probe)
  })
}

/** @param like undefined: readable by all that the umask allows. */
function writeWhole(file: string, content: string, like?: Stats): void {
  removeLeftovers(file)
  const building = besides(file, 'building')
  try {
    const fd = openSync(
      building,
      constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW,
      like === undefined ? 0o644 : 0o600,
    )
    try {
      writeFileSync(fd, content)
      if (like !== undefined) giveTo(fd, like)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(building, file)
  } catch (error) {
    rmSync(building, { force: true })
    throw error
  }
  syncDirectory(dirname(file))
}

/** Whoever is not root can give a file to a group of theirs at most. */
function giveTo(fd: number, { uid, gid, mode }: Stats): void {
  for (const owner of [uid, -1]) {
    try {
      fchownSync(fd, owner, gid)
      break
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) throw error
    }
  }
  // Last: a change of owner takes bits away. Not at open: the umask would.
  fchmodSync(fd, mode & 0o7777)
}

/** `web.pem` → `web.pem.2026-01-31T12-00-00Z.bak`; a second one within the second gets a number. */
function backUp(file: string): string {
  const stamp = new Date()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(':', '-')
  for (let number = 1; ; number++) {
    const backup = `${file}.${stamp}${number === 1 ? '' : `-${number}`}.bak`
    if (existsSync(backup)) continue
    copyFileSync(file, backup, constants.COPYFILE_EXCL)
    return backup
  }
}

function besides(file: string, purpose: 'building' | 'probe'): string {
  return join(dirname(file), `.${basename(file)}.${purpose}-${process.pid}`)
}

/**
 * What somebody was building who was killed at it; the number in the name is the process. Our own number too: in a container it
 * is the same every time. Whatever cannot be removed is no reason to fail.
 */
function removeLeftovers(file: string): void {
  try {
    for (const name of readdirSync(dirname(file))) {
      if (!name.startsWith(`.${basename(file)}.`)) continue
      const pid = Number(/^(?:building|probe)-(\d+)$/.exec(name.slice(basename(file).length + 2))?.[1])
      if (Number.isNaN(pid) || (pid !== process.pid && isRunning(pid))) continue
      rmSync(join(dirname(file), name), { force: true })
    }
  } catch {
    // The write itself says what is wrong with the folder.
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // Another user's.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** So that the new name outlives a power failure. */
function syncDirectory(directory: string): void {
  const fd = openSync(directory, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function inWords<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
    const reason = REASONS[code] ?? (cause instanceof Error ? cause.message : String(cause))
    throw new SealgateError('ERR_KEYS_FILE', `${file} cannot be written: ${reason}`, { cause })
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'its folder is not there; make it first',
  ENOTDIR: 'a part of its path is not a folder',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
}

// @ts-check
/** Installs what is missing from the system's own packages: apt, dnf, apk or brew. */

import { spawnSync } from 'node:child_process'
import { hasCommand, run } from './command.mjs'
import { root } from './paths.mjs'
import { Stop } from './steps.mjs'

/**
 * Something that the system must provide.
 *
 * @typedef {object} Requirement
 * @property {string} name what people call it
 * @property {() => boolean} present
 * @property {Readonly<Record<ManagerName, readonly string[]>>} packages which have it, by package manager
 */

/** @typedef {'apt' | 'dnf' | 'apk' | 'brew'} ManagerName */

/**
 * Installs those requirements that are not there, all with one command.
 *
 * @param {readonly Requirement[]} requirements
 * @returns {Promise<string>} a few words on what was done
 * @throws {Stop} status 69 with the one command to run, when this user may not install packages
 */
export async function installMissing(requirements) {
  const missing = requirements.filter((requirement) => !requirement.present())
  if (missing.length === 0) return 'already there'

  const names = missing.map((requirement) => requirement.name).join(', ')
  const manager = MANAGERS.find((candidate) => hasCommand(candidate.command))
  if (manager === undefined) {
    throw new Stop(`Please install ${names}: this system has none of apt, dnf, apk and brew.`, 69)
  }
  const packages = [...new Set(missing.flatMap((requirement) => requirement.packages[manager.name]))]
  if (packages.length === 0)
    throw new Stop(`Please install ${names}: ${manager.name} has no package of it.`, 69)
  const install = [manager.command, ...manager.install, ...packages]

  const prefix = manager.name === 'brew' ? [] : rootPrefix()
  if (prefix === undefined) {
    throw new Stop(
      `${names} must be installed, as root. Run this and then try again:\n\n  ${byHand(manager, packages)}`,
      69,
    )
  }
  await installWithFreshLists(prefix, manager, install)

  const still = missing.filter((requirement) => !requirement.present()).map((requirement) => requirement.name)
  if (still.length > 0) {
    throw new Stop(`${still.join(', ')} is still missing after: ${[...prefix, ...install].join(' ')}`, 69)
  }
  return `installed ${packages.join(' ')}`
}

/**
 * The command for a user who has to become root first.
 *
 * @param {Manager} manager
 * @param {readonly string[]} packages
 */
function byHand(manager, packages) {
  const [verb = ''] = manager.install
  const update = manager.update === undefined ? '' : `sudo ${manager.command} ${manager.update.join(' ')} && `
  return `${update}sudo ${manager.command} ${verb} ${packages.join(' ')}`
}

/**
 * Package lists are fetched only when the first attempt fails: they are absent in fresh containers, and
 * fetching them takes longer than the installation.
 *
 * @param {readonly string[]} prefix
 * @param {Manager} manager
 * @param {readonly string[]} install
 */
async function installWithFreshLists(prefix, manager, install) {
  try {
    await runAs(prefix, install)
  } catch (error) {
    if (manager.update === undefined) throw error
    await runAs(prefix, [manager.command, ...manager.update])
    await runAs(prefix, install)
  }
}

/**
 * @param {readonly string[]} prefix
 * @param {readonly string[]} commandLine
 */
async function runAs(prefix, commandLine) {
  const [command = '', ...args] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', ...commandLine]
  await run(command, args, { cwd: root })
}

/** What to put before a command to run it as root; undefined when this user cannot without a password. */
function rootPrefix() {
  if (process.getuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : undefined
}

/**
 * @typedef {object} Manager
 * @property {ManagerName} name
 * @property {string} command
 * @property {readonly string[]} install
 * @property {readonly string[]} [update] only where lists must be fetched before an installation
 */

/** @type {readonly Manager[]} */
const MANAGERS = [
  {
    name: 'apt',
    command: 'apt-get',
    // Fresh machines install updates in the background: wait for that lock instead of failing.
    install: ['install', '--yes', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300'],
    update: ['update'],
  },
  { name: 'dnf', command: 'dnf', install: ['install', '--assumeyes'] },
  { name: 'apk', command: 'apk', install: ['add', '--no-cache'] },
  { name: 'brew', command: 'brew', install: ['install'] },
]

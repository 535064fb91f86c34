// @ts-check
/**
 * Builds and runs the native tests: the C++ of src without Node, linked with the system's OpenSSL and libuv.
 *
 *   node test/native/run.mjs [--filter=GTEST_FILTER]
 *
 * Two builds: everything under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer; what threads hand
 * to each other also under ThreadSanitizer. That one cannot follow OpenSSL's ASYNC fibres (they change stacks with
 * swapcontext and longjmp), so it gets the tests that reach no handshake.
 *
 * A file is compiled again only when it, a header that it includes, or the command has changed.
 */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const testFolder = join(root, 'test', 'native')
const sourceFolders = [join(root, 'src', 'native'), join(root, 'src', 'bench', 'native')]
const outputFolder = join(root, 'build', 'native-tests')
const INSTALL = 'apt-get install -y libssl-dev libuv1-dev libgtest-dev g++'
const PARALLEL = Math.max(2, availableParallelism())
// Many tests wait for a timer of the proxy rather than for the processor.
const PROCESSES = 4
const TIMEOUT_MS = 240_000

const COMMON = [
  ...['-std=gnu++20', '-O0', '-g1', '-fno-omit-frame-pointer', '-pthread'],
  // g++ misses the members that a designated initializer leaves to their defaults; clang++ does not.
  ...['-Wall', '-Wextra', '-Wconversion', '-Wno-missing-field-initializers', '-Werror'],
]

/**
 * @typedef {object} Build
 * @property {string} name folder of the output
 * @property {readonly string[]} flags for compiler and linker
 * @property {(file: string) => boolean} includes which tests it has
 * @property {Record<string, string>} env
 * @property {number} processes
 */

/** @type {readonly Build[]} */
const BUILDS = [
  {
    name: 'asan',
    // Not vptr: it probes memory through a pipe, and one test takes all descriptors away.
    flags: ['-fsanitize=address,undefined', '-fno-sanitize=vptr', '-fno-sanitize-recover=all'],
    includes: () => true,
    env: {
      ASAN_OPTIONS: 'detect_leaks=1:detect_stack_use_after_return=0:strict_init_order=1',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
    processes: PROCESSES,
  },
  {
    name: 'tsan',
    flags: ['-fsanitize=thread'],
    includes: (file) =>
      [
        ...['address_limit_test.cc', 'mailbox_test.cc', 'registry_test.cc', 'sign_load_test.cc'],
        'thread_commands_test.cc',
      ].includes(file),
    env: { TSAN_OPTIONS: 'halt_on_error=1:second_deadlock_stack=1' },
    processes: 1,
  },
]

process.exitCode = await main()

async function main() {
  // Either will do; with sanitizers clang takes half the time.
  const compiler = process.env['CXX'] ?? (onPath('clang++') ? 'clang++' : 'g++')
  const missing = missingTools(compiler)
  if (missing.length > 0) {
    process.stdout.write(
      `missing: ${missing.join(', ')}\ninstall with: ${INSTALL}\nnative: 0 passed, 1 failed\n`,
    )
    return 1
  }
  const filter = process.argv
    .slice(2)
    .find((argument) => argument.startsWith('--filter='))
    ?.slice('--filter='.length)

  const started = Date.now()
  const programs = await compileAll(compiler)
  if (programs === undefined) {
    process.stdout.write('native: 0 passed, 1 failed\n')
    return 1
  }
  process.stdout.write(`native: built in ${seconds(started)}\n`)

  let passed = 0
  let failed = 0
  for (const { build, program } of programs) {
    const began = Date.now()
    const results = await Promise.all(
      Array.from({ length: build.processes }, (_, shard) => runShard(build, program, shard, filter)),
    )
    for (const result of results) {
      passed += result.passed
      failed += result.failed
      process.stdout.write(result.output)
    }
    process.stdout.write(`native: ${build.name} ran in ${seconds(began)}\n`)
  }
  process.stdout.write(`native: ${passed} passed, ${failed} failed\n`)
  return failed === 0 && passed > 0 ? 0 : 1
}

/** @param {string} compiler */
function missingTools(compiler) {
  const headers = { 'openssl/ssl.h': 'OpenSSL', 'uv.h': 'libuv', 'gtest/gtest.h': 'GoogleTest' }
  const folders = ['/usr/include', '/usr/local/include', ...multiarchIncludes()]
  const missing = Object.entries(headers)
    .filter(([header]) => !folders.some((folder) => existsSync(join(folder, header))))
    .map(([header, name]) => `${name} (${header})`)
  return onPath(compiler) || existsSync(compiler) ? missing : [compiler, ...missing]
}

/** @param {string} program */
function onPath(program) {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, program)))
}

function multiarchIncludes() {
  return readdirSync('/usr/include')
    .filter((name) => name.includes('-linux-'))
    .map((name) => join('/usr/include', name))
}

/**
 * @param {string} compiler
 * @returns {Promise<{ build: Build, program: string }[] | undefined>} undefined when something does not compile
 */
async function compileAll(compiler) {
  const sources = sourceFolders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith('.cc') && !name.startsWith('binding'))
      .map((name) => join(folder, name)),
  )
  const support = readdirSync(join(testFolder, 'support'))
    .filter((name) => name.endsWith('.cc'))
    .map((name) => join(testFolder, 'support', name))
  const tests = readdirSync(testFolder).filter((name) => name.endsWith('_test.cc'))

  /** @type {Unit[]} */
  const units = []
  const programs = []
  for (const build of BUILDS) {
    const folder = join(outputFolder, build.name)
    mkdirSync(folder, { recursive: true })
    const chosen = tests.filter(build.includes).map((name) => join(testFolder, name))
    const ours = [...sources, ...support, ...chosen].map((source) => unitOf(compiler, build, folder, source))
    units.push(...ours)
    programs.push({ build, program: join(folder, 'tests'), objects: ours.map((unit) => unit.object) })
  }
  // The slowest first: tests include GoogleTest.
  const stale = units.filter((unit) => !isFresh(unit)).sort((a, b) => Number(b.isTest) - Number(a.isTest))
  if (!(await inParallel(stale, compile))) return undefined
  for (const { build, program, objects } of programs) {
    const libraries = ['-lgtest', '-lssl', '-lcrypto', '-luv']
    const command = [compiler, '-pthread', ...build.flags, ...objects, ...libraries, '-o', program]
    const stamp = digest([
      command.join(' '),
      ...objects.map((object) => readFileSync(`${object}.stamp`, 'utf8')),
    ])
    if (existsSync(program) && readIfThere(`${program}.stamp`) === stamp) continue
    if (!(await run(command)).ok) return undefined
    writeFileSync(`${program}.stamp`, stamp)
  }
  return programs
}

/**
 * @typedef {object} Unit
 * @property {string} source
 * @property {string} object
 * @property {string[]} command
 * @property {boolean} isTest
 */

/**
 * @param {string} compiler
 * @param {Build} build
 * @param {string} folder
 * @param {string} source
 * @returns {Unit}
 */
function unitOf(compiler, build, folder, source) {
  const isTest = !sourceFolders.includes(dirname(source))
  const object = join(folder, `${isTest ? 'test-' : ''}${basename(source, '.cc')}.o`)
  const includes = [...sourceFolders.map((folder) => `-I${folder}`), ...(isTest ? [`-I${testFolder}`] : [])]
  const dialect = isTest ? [] : ['-fno-exceptions']
  const command = [compiler, ...COMMON, ...build.flags, ...dialect, ...includes]
  return { source, object, isTest, command: [...command, '-MMD', '-MP', '-c', source, '-o', object] }
}

/** @param {Unit} unit */
function isFresh(unit) {
  if (!existsSync(unit.object)) return false
  return readIfThere(`${unit.object}.stamp`) === stampOf(unit)
}

/** Command and contents of every file of ours that went in; the compiler lists them. @param {Unit} unit */
function stampOf(unit) {
  const listed = readIfThere(unit.object.replace(/\.o$/, '.d')) ?? unit.source
  const inputs = listed
    .split(/[\s\\]+/)
    .filter((path) => path.startsWith(root) && !path.endsWith(':') && existsSync(path))
  return digest([
    unit.command.join(' '),
    ...[...new Set(inputs)].sort().map((path) => readFileSync(path, 'utf8')),
  ])
}

/** @param {Unit} unit */
async function compile(unit) {
  rmSync(unit.object, { force: true })
  const { ok } = await run(unit.command)
  if (ok) writeFileSync(`${unit.object}.stamp`, stampOf(unit))
  else process.stdout.write(`native: ${relative(root, unit.source)} does not compile\n`)
  return ok
}

/**
 * @template T
 * @param {readonly T[]} items
 * @param {(item: T) => Promise<boolean>} work
 * @returns {Promise<boolean>} whether all went well
 */
async function inParallel(items, work) {
  const rest = [...items]
  let ok = true
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined && ok; item = rest.shift()) ok = (await work(item)) && ok
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
  return ok
}

/**
 * One of several processes that share the tests of a program.
 *
 * @param {Build} build
 * @param {string} program
 * @param {number} shard
 * @param {string | undefined} filter
 * @returns {Promise<{ passed: number, failed: number, output: string }>}
 */
async function runShard(build, program, shard, filter) {
  const report = `${program}-${shard}.json`
  rmSync(report, { force: true })
  const { ok, output } = await run(
    [
      program,
      '--gtest_brief=1',
      `--gtest_output=json:${report}`,
      ...(filter ? [`--gtest_filter=${filter}`] : []),
    ],
    {
      ...build.env,
      GTEST_TOTAL_SHARDS: String(build.processes),
      GTEST_SHARD_INDEX: String(shard),
    },
  )
  const {
    tests = 0,
    failures = 0,
    disabled = 0,
  } = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : {}
  // A crash, or a sanitizer's report at the end, is a failure too.
  const failed = ok ? failures + disabled : Math.max(1, failures)
  return { passed: tests - failures - disabled, failed, output: ok ? '' : output }
}

/**
 * @param {readonly string[]} command
 * @param {Record<string, string>} [env]
 * @returns {Promise<{ ok: boolean, output: string }>} the output of a program with env; a compiler shows its own
 */
function run(command, env) {
  const [program = '', ...args] = command
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', env === undefined ? 'inherit' : 'pipe', env === undefined ? 'inherit' : 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        output += text
      })
    }
    const timer = setTimeout(() => {
      output += `${program} did not end within ${TIMEOUT_MS / 1000} s\n`
      child.kill('SIGKILL')
    }, TIMEOUT_MS)
    child.once('error', (error) => {
      clearTimeout(timer)
      resolve({ ok: false, output: `${error.message}\n` })
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ ok: code === 0, output })
    })
  })
}

/** @param {string} path */
function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

/** @param {readonly string[]} parts */
function digest(parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex')
}

/** @param {number} since */
function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`
}

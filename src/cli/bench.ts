/** `sealgate bench`: what an HSM can do, what a listener can do, and how many HSMs a load needs. */

import { type Command, Option } from 'commander'

import { repeatable } from './module-options.ts'
import type { Terminal } from './program.ts'

export function addBenchCommands(
  program: Command,
  terminal: Terminal,
  ended: (status: number) => void,
): void {
  const bench = program
    .command('bench')
    .description('measure an HSM or a listener, compare measurements, plan capacity')
  addSign(bench, terminal, ended)
  addHandshake(bench, terminal, ended)
  addCompare(bench, terminal, ended)
  addPlan(bench, terminal, ended)
}

function addSign(bench: Command, terminal: Terminal, ended: (status: number) => void): void {
  bench
    .command('sign')
    .description('signatures per second and latency of each scheme, until more sessions bring no more')
    .option('--config <file>', 'measure the HSMs and keys of a configuration')
    .addOption(repeatable('--hsm <name>', 'of these, only this HSM', 'all'))
    .addOption(repeatable('--key <uri>', 'only this key; without --config: the key to sign with', 'all'))
    .addOption(
      repeatable(
        '--certificate <file>',
        'only the key of this certificate, by file or name; without --config: the public key, where the token does not show it',
        'all',
      ),
    )
    .option('--module <file>', 'without a configuration: PKCS#11 module')
    .option('--token <label>', '… label of the token')
    .option('--serial <number>', '… or its serial number')
    .option('--slot <number>', '… or its slot')
    .option('--pin-file <file>', '… file that holds the PIN')
    .addOption(repeatable('--env <name=value>', '… environment for the module', 'none'))
    .option('--initialize <text>', '… parameters for C_Initialize, as hsms.NAME.initialize')
    .option('--user-type <type>', '… CK_USER_TYPE for the login: user, so or a number', 'user')
    .option('--schemes <list>', 'only these schemes, e.g. ecdsa_secp256r1_sha256,rsa_pss_rsae_sha256')
    .option('--sessions <list>', 'only these steps, e.g. 1,2,4 (default: double until the knee or the limit)')
    .option('--seconds <n>', 'length of a step', '3')
    .option('--warm-up <n>', 'seconds of the same load before each step', '1')
    .addOption(
      new Option('--path <path>', 'pool (as the proxy signs), raw (PKCS#11 alone) or both')
        .choices(['pool', 'raw', 'both'])
        .default('both'),
    )
    .option('--resumed <share>', 'share of handshakes that tickets resume, for the advice', '0.7')
    .option('--json <file>', 'write the figures, for compare and plan')
    .option('--html <file>', 'write a report with plots, in one file')
    .addHelpText('after', SIGN_HELP)
    .action(async (options: import('./bench-sign.ts').BenchSignOptions) => {
      const { benchSign } = await import('./bench-sign.ts')
      ended(await benchSign(options, terminal))
    })
}

function addHandshake(bench: Command, terminal: Terminal, ended: (status: number) => void): void {
  bench
    .command('handshake')
    .description('drive a running listener with full and resumed handshakes; say what of it was the HSM')
    .argument('<url>', 'any TLS server: https://HOST:PORT or HOST:PORT')
    .option(
      '--rate <n/s>',
      'open loop: so many handshakes begin each second, whatever becomes of those before',
    )
    .option('--connections <n>', 'closed loop: so many at a time (default 64)')
    .option('--resumed <share>', 'share of handshakes that are resumed with a ticket', '0')
    .addOption(new Option('--tls <version>', 'version to speak').choices(['1.2', '1.3']).default('1.3'))
    .option('--alpn <list>', 'protocols to offer, e.g. h2,http/1.1')
    .option('--servername <name>', 'server name to ask for (default: the host of the URL)')
    .option('--cacert <file>', 'CA of the certificate (default: those that Node knows)')
    .option('--insecure', 'do not verify the certificate')
    .option('--processes <n>', 'client processes (default: one for each processor)')
    .option('--seconds <n>', 'how long', '10')
    .option('--warm-up <n>', 'seconds of the same load before', '2')
    .option('--timeout <n>', 'a handshake that takes longer, in seconds, has failed', '10')
    .option('--reset', 'end connections with a reset: no TIME_WAIT, where client ports run out')
    .option('--admin <url>', "the proxy's admin endpoint: how much of the latency was the HSM")
    .option('--server-pid <pid>', "a server on this machine: its CPU per handshake beside the generator's")
    .option('--json <file>', 'write the figures')
    .addHelpText('after', HANDSHAKE_HELP)
    .action(async (url: string, options: import('./bench-handshake.ts').BenchHandshakeOptions) => {
      const { benchHandshake } = await import('./bench-handshake.ts')
      ended(await benchHandshake(url, options, terminal))
    })
}

function addCompare(bench: Command, terminal: Terminal, ended: (status: number) => void): void {
  bench
    .command('compare')
    .description('what has changed between two reports of `bench sign`, and whether it is more than chance')
    .argument('<before>', 'a report: bench sign --json FILE')
    .argument('<after>', 'another one')
    .option('--fail-below <ratio>', 'exit with 65 when a knee is below this share of before, e.g. 0.9')
    .option('--json', 'the result as JSON')
    .addHelpText('after', COMPARE_HELP)
    .action(
      async (before: string, after: string, options: import('./bench-compare.ts').BenchCompareOptions) => {
        const { benchCompare } = await import('./bench-compare.ts')
        ended(await benchCompare([before, after], options, terminal))
      },
    )
}

function addPlan(bench: Command, terminal: Terminal, ended: (status: number) => void): void {
  bench
    .command('plan')
    .description('how many HSMs a load needs, one of them to spare, and what they cost')
    .argument('<report>', 'a report of the HSM: bench sign --json FILE')
    .option('--handshakes <n/s>', 'handshakes per second at the peak, full and resumed (required)')
    .option('--resumed <share>', 'share of them that tickets resume', '0')
    .option('--scheme <name>', 'signature scheme (default: ecdsa_secp256r1_sha256 if it was measured)')
    .option('--hsm <name>', 'plan with this HSM (default: the slowest)')
    .option('--utilisation <share>', 'share of the knee that is used at most', '0.7')
    .option('--price <n/h>', 'price of an HSM per hour')
    .option('--price-per-request <price>', 'price of a signature, or of many: 0.15/10000')
    .option('--average-load <share>', 'average ÷ peak, for prices per request', '0.4')
    .option('--json', 'the result as JSON')
    .addHelpText('after', PLAN_HELP)
    .action(async (report: string, options: import('./bench-plan.ts').BenchPlanOptions) => {
      const { benchPlan } = await import('./bench-plan.ts')
      ended(await benchPlan(report, options, terminal))
    })
}

const COMPARE_HELP = `
Steps are compared where HSM, scheme, key type, path and sessions are the same; knees wherever they are.
Exit status: 0, 64 usage, 65 slower than --fail-below (or no report, or nothing in common), 66 a file cannot be read.

Examples:
  $ sealgate bench compare before.json after.json
  $ sealgate bench compare --fail-below 0.9 main.json branch.json`
const PLAN_HELP = `
N−1: with one HSM lost, the others still stay below --utilisation. Prices of 2026 in us-east-1, which change and differ
by region, so look them up: AWS CloudHSM about 1.45 USD per HSM and hour; AWS KMS 0.15 USD per 10,000 signatures with
EC keys and RSA keys above 2048 bits, 0.03 with RSA 2048, and a limit of requests per second for each account.

Exit status: 0, 64 usage, 65 the file is no report, 66 it cannot be read.

Examples:
  $ sealgate bench plan hsm.json --handshakes 5000/s --resumed 0.6 --price 1.45/h
  $ sealgate bench plan hsm.json --handshakes 800/s --resumed 0.6 --price-per-request 0.15/10000 --average-load 30%`
const HANDSHAKE_HELP = `
Latency is from the start of the connection to the end of the handshake. With --rate it counts from the time at which
a handshake should have begun, so a server that stalls cannot hide it (no coordinated omission).
A client has its own share of the work in a handshake: the CPU per handshake of both sides is printed, and a warning when
the generator was at its limit. For a server's own figures run it on another machine, with --processes.

Exit status: 0, 64 usage, 69 no handshake with the server, 73 a report cannot be written, 130 interrupted.

Examples:
  $ sealgate bench handshake https://example.com --rate 500/s --resumed 0.7 --seconds 30
  $ sealgate bench handshake 127.0.0.1:8443 --servername example.com --cacert ca.pem --connections 128 --admin http://127.0.0.1:9901`
const SIGN_HELP = `
Every HSM is measured alone and, where a key is in several, all together. The keys sign test messages only, which have
the shape of a handshake and are of no use in one. Sessions and HSM are shared with whoever else uses them: measure
when nobody does, or know that the figures are what is left.
Ctrl-C ends it with what has been measured. A PIN is tried once, and not at all when one try is left.

Exit status: 0, 64 usage, 69 an HSM or a key could not be measured, 73 a report cannot be written, 130 interrupted.

Examples:
  $ sealgate bench sign --config /etc/sealgate.yaml --json a.json --html a.html
  $ sealgate bench sign --config /etc/sealgate.yaml --hsm hsm-a --schemes ecdsa_secp256r1_sha256 --sessions 1,8,32
  $ sealgate bench sign --module /usr/lib/softhsm/libsofthsm2.so --token web --pin-file web.pin --key 'pkcs11:object=web'`

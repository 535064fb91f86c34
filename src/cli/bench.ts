/** `sealgate bench`: what an HSM can do, what a listener can do, and how many HSMs a load needs. */

import type { Command } from 'commander'

import { collect } from './bench-options.ts'
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
}

function addSign(bench: Command, terminal: Terminal, ended: (status: number) => void): void {
  bench
    .command('sign')
    .description('signatures per second and latency of each scheme, until more sessions bring no more')
    .option('--config <file>', 'measure the HSMs and keys of a configuration')
    .option('--hsm <name>', 'of these, only this HSM (may be repeated)', collect, [])
    .option(
      '--key <uri>',
      'only this key (may be repeated); without --config: the key to sign with',
      collect,
      [],
    )
    .option(
      '--certificate <file>',
      'only the key of this certificate, by file or name; without --config: the public key, where the token does not show it',
      collect,
      [],
    )
    .option('--module <file>', 'without a configuration: PKCS#11 module')
    .option('--token <label>', '… label of the token')
    .option('--serial <number>', '… or its serial number')
    .option('--slot <number>', '… or its slot')
    .option('--pin-file <file>', '… file that holds the PIN')
    .option('--env <name=value>', '… environment for the module (may be repeated)', collect, [])
    .option('--user-type <type>', '… CK_USER_TYPE for the login: user, so or a number', 'user')
    .option('--schemes <list>', 'only these schemes, e.g. ecdsa_secp256r1_sha256,rsa_pss_rsae_sha256')
    .option('--sessions <list>', 'only these steps, e.g. 1,2,4 (default: double until the knee or the limit)')
    .option('--seconds <n>', 'length of a step', '3')
    .option('--warm-up <n>', 'seconds of the same load before each step', '1')
    .option('--path <path>', 'pool (as the proxy signs), raw (PKCS#11 alone) or both', 'both')
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
    .option('--tls <version>', '1.3 or 1.2', '1.3')
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

const HANDSHAKE_HELP = `
Latency is from the start of the connection to the end of the handshake. With --rate it counts from the time at which
a handshake should have begun, so a server that stalls cannot hide it (no coordinated omission).
The clients are Node processes and need more CPU than a good server: the CPU per handshake of both is printed, and a
warning when the generator was at its limit. Run it on another machine than the server, with --processes.

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

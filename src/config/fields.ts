/**
 * The kinds of value a key can have. Each checks its text, turns it into what the parts use, and carries
 * `x-type` and `x-bounds` for the reference.
 */

import { isIP } from 'node:net'
import { z } from 'zod'
import type { ListenAddress, Network } from '../tls/options.ts'
import { DURATION_UNITS, formatDuration, formatSize, parseDuration, parseSize, SIZE_UNITS } from './units.ts'

/** Text without control characters; a number or `yes` without quotes is refused, not converted. */
export function text(options: { max?: number; type?: string } = {}) {
  const { max = 4096, type = 'text' } = options
  return z
    .string()
    .min(1, 'is empty')
    .max(max, `is longer than ${max} characters`)
    .refine((value) => !CONTROL_CHARACTERS.test(value), 'contains a control character')
    .meta({ 'x-type': type })
}

/** Relative paths are resolved later, against the configuration file. */
export function path() {
  return text({ type: 'path' })
}

/** A name given in this file; it becomes a metric label and part of log lines. */
export function name() {
  return z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
      'is no name: use up to 64 letters, digits, ".", "_" and "-", starting with a letter or digit',
    )
    .meta({ 'x-type': 'name' })
}

/** @returns (after parsing) milliseconds. */
export function duration(bounds: { min: number; max: number }) {
  return quantity({
    ...bounds,
    type: 'duration',
    units: Object.keys(DURATION_UNITS),
    example: '250ms',
    parse: parseDuration,
    format: formatDuration,
  })
}

/** @returns (after parsing) bytes. */
export function size(bounds: { min: number; max: number }) {
  return quantity({
    ...bounds,
    type: 'size',
    units: Object.keys(SIZE_UNITS),
    example: '16KiB',
    parse: parseSize,
    format: formatSize,
  })
}

export function integer(bounds: { min: number; max: number }) {
  const range =
    bounds.max === Number.MAX_SAFE_INTEGER ? `from ${bounds.min}` : `${bounds.min} ... ${bounds.max}`
  return z
    .int()
    .min(bounds.min, `is too small: ${range}`)
    .max(bounds.max, `is too large: ${range}`)
    .meta({ 'x-type': 'number', 'x-bounds': range })
}

/** `10.0.0.0/8`, `2001:db8::/32`, or one address. */
export function network() {
  return z
    .string()
    .transform((value, context): Network => {
      const [address = '', bits, ...more] = value.split('/')
      const width = isIP(address) === 6 ? 128 : 32
      const prefix = bits === undefined ? width : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN
      if (isIP(address) !== 0 && !address.includes('%') && prefix <= width && more.length === 0)
        return { address, prefix }
      const message = 'is no network: write an IP address and the length of its prefix, e.g. 10.0.0.0/8'
      context.issues.push({ code: 'custom', message, input: value })
      return z.NEVER
    })
    .meta({ 'x-type': 'network' })
}

/** `127.0.0.1:443`, `[::]:443`: an IP address and a port. */
export function address() {
  return z
    .string()
    .transform((value, context): ListenAddress => {
      const address = parseAddress(value)
      if (typeof address !== 'string') return address
      context.issues.push({ code: 'custom', message: address, input: value })
      return z.NEVER
    })
    .meta({ 'x-type': 'address', 'x-bounds': 'IP:port' })
}

/** `auto` or a number of threads. */
export function threadCount() {
  return z
    .union([z.literal('auto'), z.int().min(1).max(MAX_THREADS)], {
      error: `must be auto or a number: 1 ... ${MAX_THREADS}`,
    })
    .meta({ 'x-type': 'auto or number', 'x-bounds': `1 ... ${MAX_THREADS}` })
}

/** @returns the address, or what is wrong with it. */
function parseAddress(value: string): ListenAddress | string {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(value) ?? []
  const host = bracketed ?? plain
  if (host === undefined || digits === undefined) {
    return isIP(value) === 6
      ? 'has no port: write the IPv6 address in brackets, then the port, e.g. "[::1]:443"'
      : 'is no address: write an IP address and a port, e.g. "0.0.0.0:443" or "[::]:443"'
  }
  if (isIP(host) !== (bracketed === undefined ? 4 : 6)) return addressCure(host)
  const port = Number(digits)
  return port > 65_535 ? `has port ${port}: ports end at 65535` : { host, port }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f]/
// Far beyond any machine this runs on; past it, somebody typed a port.
const MAX_THREADS = 256

function addressCure(host: string): string {
  if (host === '' || host === '*') return 'has no host: write 0.0.0.0 or [::] for all addresses'
  if (host === 'localhost') return 'has a name for a host: write 127.0.0.1 or [::1]'
  return 'has no IP address: a listener is bound to one, e.g. "127.0.0.1:443" or "[::1]:443"; 0.0.0.0 and [::] mean all'
}

function quantity(options: {
  min: number
  max: number
  type: string
  units: readonly string[]
  example: string
  parse: (text: string) => number | undefined
  format: (value: number) => string
}) {
  const { min, max, type, example, parse, format } = options
  const units = `units are ${options.units.join(', ')}`
  const range = `${format(min)} ... ${format(max)}`
  return z
    .string({
      error: ({ input }) =>
        typeof input === 'number' ? `needs a unit, e.g. ${example}; ${units}` : undefined,
    })
    .transform((value, context) => {
      const parsed = parse(value)
      if (parsed !== undefined && parsed >= min && parsed <= max) return parsed
      const message =
        parsed === undefined
          ? `is no ${type}: write one number and its unit, e.g. ${example}; ${units}`
          : `is too ${parsed < min ? 'small' : 'large'}: ${range}`
      context.issues.push({ code: 'custom', message, input: value })
      return z.NEVER
    })
    .meta({ 'x-type': type, 'x-bounds': range })
}

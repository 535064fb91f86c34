/** What can be known of a module without loading it, and what the dynamic linker means when it refuses to. */

import { closeSync, openSync, readSync } from 'node:fs'
import { basename } from 'node:path'

/** @returns what kind of file it is when it is none for this machine, e.g. `a 32-bit library`; undefined otherwise. */
export function foreignFile(path: string, architecture: string = process.arch): string | undefined {
  if (process.platform !== 'linux') return undefined
  const head = readHead(path)
  if (head === undefined) return undefined
  if (head.subarray(0, 4).toString('latin1') !== '\x7fELF') return describeOther(head)
  if (head[ELF_CLASS] !== ELF_64_BIT) return 'a 32-bit library'
  const machine = head.readUInt16LE(ELF_MACHINE)
  if (machine === MACHINES.get(architecture)) return undefined
  const [name = `machine type 0x${machine.toString(16)}`] =
    [...MACHINES].find(([, number]) => number === machine) ?? []
  return `a library for ${name}`
}

/**
 * @param message of dlopen(3), glibc's or musl's.
 * @returns what is missing, and the cure; undefined for a message that says nothing more.
 */
export function explainLoadFailure(
  path: string,
  message: string,
): { readonly what: string; readonly cure: string } | undefined {
  const library = /(?:^|[\s:])([\w.+/-]+\.so[\w.]*): cannot open shared object file/.exec(message)?.[1]
  const missing = library ?? /Error loading shared library ([\w.+/-]+):/.exec(message)?.[1]
  if (missing !== undefined && missing !== path && basename(missing) !== basename(path)) {
    return {
      what: `the library ${missing}, which it needs, is not found`,
      cure: `install the package that has ${missing}, or name its folder in LD_LIBRARY_PATH; ldd ${path} lists all that it needs`,
    }
  }
  const version = /version `([\w.]+)' not found/.exec(message)?.[1]
  if (version !== undefined) {
    return {
      what: `it was built for a newer system: ${version} is not here`,
      cure: "take the vendor's build for this distribution, or a newer distribution",
    }
  }
  const symbol = /(?:undefined symbol: |symbol not found: ?)(\w+)/.exec(message)?.[1]
  if (symbol === 'C_GetFunctionList' || /C_GetFunctionList/.test(message)) {
    return {
      what: 'it is a library, but no PKCS#11 module: it has no C_GetFunctionList',
      cure: "name the vendor's PKCS#11 module; its manual has the path",
    }
  }
  if (symbol !== undefined) {
    return {
      what: `a library that it needs is there in another version: it lacks ${symbol}`,
      cure: `install the versions that the vendor names; ldd ${path} shows which are found`,
    }
  }
  return undefined
}

function describeOther(head: Buffer): string {
  const start = head.toString('latin1')
  if (start.startsWith('MZ')) return 'a Windows library'
  if (start.startsWith('-----BEGIN')) return 'a PEM file'
  return head.subarray(0, 64).every((byte) => byte >= 0x09 && byte < 0x7f)
    ? 'a text file'
    : 'no shared library'
}

function readHead(path: string): Buffer | undefined {
  const head = Buffer.alloc(64)
  try {
    const file = openSync(path, 'r')
    try {
      return readSync(file, head, 0, head.length, 0) < ELF_MACHINE + 2 ? undefined : head
    } finally {
      closeSync(file)
    }
  } catch {
    return undefined // dlopen will say why
  }
}

// ELF-64, e_ident and e_machine; only little-endian machines are supported.
const ELF_CLASS = 4
const ELF_64_BIT = 2
const ELF_MACHINE = 18
const MACHINES: ReadonlyMap<string, number> = new Map([
  ['x64', 0x3e],
  ['arm64', 0xb7],
  ['ppc64', 0x15],
  ['riscv64', 0xf3],
])

/** Certificates in PEM text, and the ones among them that are not whole: a file may be read while it is written. */

import { X509Certificate } from 'node:crypto'

/**
 * One element for each certificate that begins in the text: the whole block, or undefined where it is cut off. A
 * certificate that merely had no end would be passed over otherwise, and the chain be served without it.
 */
export function certificateBlocks(text: string): (string | undefined)[] {
  const begins = [...text.matchAll(BEGIN)].map(({ index }) => index)
  const blocks = begins.map((begin, index) => BLOCK.exec(text.slice(begin, begins[index + 1]))?.[0])
  return endsInsideBegin(text) ? [...blocks, undefined] : blocks
}

/** Cut off so early that nothing says yet what was to begin there. */
export function endsInsideBegin(text: string): boolean {
  return CUT_BEGIN.test(text)
}

/** undefined: it is damaged. */
export function parseCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

const BEGIN = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/g
const BLOCK =
  /^-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/
const CUT_BEGIN = /(?:^|\n)(?:-{1,5}|-----B[A-Z0-9 ]*-{0,4})$/

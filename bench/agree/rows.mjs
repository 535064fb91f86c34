// @ts-check
/** What both programs are asked for: keys that this machine computes with, and an HSM behind a network, which lets it wait. */

/**
 * @typedef {object} Key
 * @property {string} label CKA_LABEL
 * @property {string} type as pkcs11-tool names it
 * @property {string} scheme for bench sign; raw-sign.c knows the mechanism by the key
 *
 * @typedef {object} Row
 * @property {string} id
 * @property {Key} key
 * @property {number} delayMs that C_Sign takes besides
 * @property {readonly number[]} sessions
 */

const P256 = { label: 'p256', type: 'EC:prime256v1', scheme: 'ecdsa_secp256r1_sha256' }
const RSA_2048 = { label: 'rsa2048', type: 'RSA:2048', scheme: 'rsa_pkcs1_sha256' }
const RSA_4096 = { label: 'rsa4096', type: 'RSA:4096', scheme: 'rsa_pkcs1_sha256' }

/** @type {readonly Row[]} */
const ROWS = [
  { id: 'p256', key: P256, delayMs: 0, sessions: [1, 2] },
  { id: 'rsa2048', key: RSA_2048, delayMs: 0, sessions: [1, 2] },
  { id: 'rsa4096', key: RSA_4096, delayMs: 0, sessions: [1, 2] },
  { id: '1ms', key: P256, delayMs: 1, sessions: [1, 4, 16] },
  { id: '3ms', key: P256, delayMs: 3, sessions: [1, 4, 16] },
]

/**
 * @param {readonly string[]} ids none: all
 * @throws an Error that names the ids there are.
 */
export function chooseRows(ids) {
  const known = ROWS.map(({ id }) => id)
  const unknown = ids.find((id) => !known.includes(id))
  if (unknown !== undefined) throw new Error(`no row ${unknown}; there are: ${known.join(', ')}`)
  return ids.length === 0 ? ROWS : ROWS.filter(({ id }) => ids.includes(id))
}

// @ts-check
/**
 * `node certs/make.mjs`: makes the development CA's certificates again and copies them here.
 *
 * The keys stay where they were born, in the token under `.sealgate/`; a token that is missing is made first.
 */

import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, statePaths } from '../dev/paths.mjs'
import { runMain, step } from '../dev/steps.mjs'

await runMain(async () => {
  const { makeCertificates, makeHsm } = await import('../dev/make-hsm.mjs')
  const paths = statePaths()
  await step('development HSM', () => makeHsm(paths))
  await step('certificates', () => makeCertificates(paths, { renew: true }))
  const files = readdirSync(paths.certs).filter((name) => name.endsWith('.pem'))
  for (const file of files) copyFileSync(join(paths.certs, file), join(root, 'certs', file))
  process.stdout.write(`${files.map((file) => `certs/${file}`).join(' ')}\n`)
})

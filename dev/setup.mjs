// @ts-check
/** `node dev/setup.mjs [--state DIR] [--hsm-only]`: what `npm start` does before it starts anything. */

import { parseArgs } from 'node:util'
import { statePaths } from './paths.mjs'
import { prepare, prepareHsm } from './prepare.mjs'
import { runMain } from './steps.mjs'

await runMain(async () => {
  const { values } = parseArgs({ options: { state: { type: 'string' }, 'hsm-only': { type: 'boolean' } } })
  const paths = statePaths(values.state)
  await (values['hsm-only'] ? prepareHsm(paths) : prepare(paths))
})

// @ts-check
/** `node dev/setup.mjs [--state DIR] [--hsm-only]`: what `npm start` does before it starts anything. */

import { parseArgs } from 'node:util'
import { statePaths } from './paths.mjs'
import { prepare, prepareHsm } from './prepare.mjs'
import { runMain, Stop } from './steps.mjs'

await runMain(async () => {
  const options = parse()
  const paths = statePaths(options.state)
  await (options['hsm-only'] ? prepareHsm(paths) : prepare(paths))
})

function parse() {
  try {
    return parseArgs({ options: { state: { type: 'string' }, 'hsm-only': { type: 'boolean' } } }).values
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Stop(`${reason}\nThere are: npm run setup -- [--state DIR] [--hsm-only]`, 64)
  }
}

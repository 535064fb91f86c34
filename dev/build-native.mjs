// @ts-check
/** `npm run build:native` */

import { buildNative } from './build.mjs'
import { runMain, step } from './steps.mjs'

await runMain(() => step('native addon', buildNative))

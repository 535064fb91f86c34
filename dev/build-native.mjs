// @ts-check
/** `npm run build:native` */

import { buildNative } from './build.mjs'
import { alone } from './lock.mjs'
import { setupLock } from './paths.mjs'
import { runMain, step } from './steps.mjs'

await runMain(() => alone(setupLock, () => step('native addon', buildNative)))

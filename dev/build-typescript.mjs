// @ts-check
/** `npm run build:ts` */

import { buildTypeScript } from './build.mjs'
import { alone } from './lock.mjs'
import { setupLock } from './paths.mjs'
import { runMain, step } from './steps.mjs'

await runMain(() => alone(setupLock, () => step('program', buildTypeScript)))

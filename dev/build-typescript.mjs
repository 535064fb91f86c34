// @ts-check
/** `npm run build:ts` */

import { buildTypeScript } from './build.mjs'
import { runMain, step } from './steps.mjs'

await runMain(() => step('program', buildTypeScript))

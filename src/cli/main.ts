#!/usr/bin/env node
/** The `sealgate` command. */

import { runProgram } from './program.ts'

process.exit(await runProgram(process.argv.slice(2)))

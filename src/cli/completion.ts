/** `sealgate completion`: Tab in bash, zsh and fish. */

import { Argument, type Command } from 'commander'
import { type ConfigNames, complete } from './complete.ts'
import type { Terminal } from './program.ts'
import { SCRIPTS, SHELLS, type Shell } from './shells.ts'

export function addCompletionCommands(program: Command, terminal: Terminal): void {
  program
    .command('completion')
    .description('print what makes a shell complete commands, options, files and names of the configuration')
    .addArgument(new Argument('<shell>', 'yours').choices(SHELLS))
    .addHelpText('after', HELP)
    .action((shell: Shell) => terminal.out(SCRIPTS[shell]))
  program
    .command('complete', { hidden: true })
    .description('what can follow WORDS, for the scripts of `completion`')
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { configNames } = await import('../config/names.ts')
      terminal.out(answer(program, words, configNames))
    })
}

function answer(
  program: Command,
  words: readonly string[],
  namesOf: (config: string) => ConfigNames,
): string {
  const { candidates, add } = complete(program, words, namesOf)
  const lines = candidates.map(({ value, description }) => `${value}\t${description}\n`)
  return `${lines.join('')}:${add}\n`
}

const HELP = `
Examples:
  $ source <(sealgate completion bash)                                       # in ~/.bashrc
  $ sealgate completion zsh > "\${fpath[1]}/_sealgate"
  $ sealgate completion fish > ~/.config/fish/completions/sealgate.fish`

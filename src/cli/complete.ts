/**
 * What can follow what was typed: commands and options of commander's own tree, file names where a file is meant, and
 * the names in the configuration that is named on the line.
 */

import type { Argument, Command, Option } from 'commander'

export interface Completion {
  readonly candidates: readonly Candidate[]
  /** The shell adds names of files or folders by itself. */
  readonly add: 'files' | 'folders' | 'nothing'
}

export interface Candidate {
  readonly value: string
  /** One line; empty where the value says it all. */
  readonly description: string
}

/** Names that a configuration gives; empty when it cannot be read. */
export interface ConfigNames {
  readonly hsms: readonly string[]
  readonly certificates: readonly string[]
}

/**
 * @param words what is typed behind the program's name; the last one is being typed, and may be empty. `=` may be a
 *   word of its own, as bash has it.
 * @param namesOf reads a configuration; called when such a name is asked for.
 */
export function complete(
  program: Command,
  words: readonly string[],
  namesOf: (config: string) => ConfigNames,
): Completion {
  const line = readLine(program, words.slice(0, -1))
  const typed = words.at(-1) ?? ''
  const current = typed === '=' ? '' : typed
  const names = (): ConfigNames =>
    line.config === undefined ? { hsms: [], certificates: [] } : namesOf(line.config)
  if (line.pending !== undefined) return startingWith(current, valuesOf(line.pending, names))
  const [, name, value] = /^(--[^=]+)=(.*)$/.exec(current) ?? []
  const option = name === undefined ? undefined : findOption(line.command, name)
  if (option !== undefined) {
    const { candidates } = startingWith(value ?? '', valuesOf(option, names))
    const whole = candidates.map((candidate) => ({ ...candidate, value: `${name}=${candidate.value}` }))
    return { candidates: whole, add: 'nothing' }
  }
  if (current.startsWith('-') && !line.operandsOnly) {
    return startingWith(current, { candidates: optionsOf(line), add: 'nothing' })
  }
  return startingWith(current, operandsOf(line))
}

/** The line so far. */
interface Line {
  readonly command: Command
  /** Takes the next word as its value. */
  readonly pending: Option | undefined
  readonly used: ReadonlySet<Option>
  /** Operands that this command has already. */
  readonly operands: number
  /** Behind `--`. */
  readonly operandsOnly: boolean
  /** Of `--config`. */
  readonly config: string | undefined
}

function readLine(program: Command, words: readonly string[]): Line {
  let command = program
  let pending: Option | undefined
  let operands = 0
  let operandsOnly = false
  let config: string | undefined
  const used = new Set<Option>()
  for (const word of words) {
    if (pending !== undefined) {
      if (word === '=') continue
      if (pending.long === '--config') config = withoutQuotes(word)
      pending = undefined
    } else if (operandsOnly) operands++
    else if (word === '--') operandsOnly = true
    else if (word.startsWith('-')) {
      const [name = '', value] = word.split('=', 2)
      const option = findOption(command, name)
      if (option === undefined) continue
      used.add(option)
      if (value === undefined && (option.required || option.optional)) pending = option
      else if (option.long === '--config') config = value === undefined ? undefined : withoutQuotes(value)
    } else {
      const next = command.commands.find((each) => each.name() === word || each.aliases().includes(word))
      if (next === undefined) operands++
      else {
        command = next
        operands = 0
      }
    }
  }
  return { command, pending, used, operands, operandsOnly, config }
}

function optionsOf({ command, used }: Line): Candidate[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .filter((option) => !used.has(option) || isRepeatable(option))
    .flatMap(({ long, short, description }) => {
      const value = long ?? short
      return value === undefined ? [] : [{ value, description }]
    })
}

/** The next command; else the next operand; else, where there is none to come, the options. */
function operandsOf(line: Line): Completion {
  const { command, operands } = line
  const commands = command
    .createHelp()
    .visibleCommands(command)
    .map((each) => ({ value: each.name(), description: each.summary() || each.description() }))
  if (commands.length > 0) return { candidates: commands, add: 'nothing' }
  const last = command.registeredArguments.at(-1)
  const operand = command.registeredArguments[operands] ?? (last?.variadic === true ? last : undefined)
  if (operand !== undefined) return valuesOf(operand, () => ({ hsms: [], certificates: [] }))
  return { candidates: line.operandsOnly ? [] : optionsOf(line), add: 'nothing' }
}

/** By the choices of an option or argument, or the word in its brackets: `<file>`, `<folder>`, `--hsm <name>`. */
function valuesOf(taker: Option | Argument, names: () => ConfigNames): Completion {
  const plain = (values: readonly string[]): Completion => ({
    candidates: values.map((value) => ({ value, description: '' })),
    add: 'nothing',
  })
  if (taker.argChoices !== undefined && taker.argChoices.length > 0) return plain(taker.argChoices)
  const option = 'long' in taker ? taker.long : undefined
  if (option === '--hsm') return plain(names().hsms)
  if (option === '--certificate') return plain(names().certificates)
  const what = 'flags' in taker ? /[<[]([\w-]+)/.exec(taker.flags)?.[1] : taker.name()
  const add = FILES.has(what ?? '') ? 'files' : FOLDERS.has(what ?? '') ? 'folders' : 'nothing'
  return { candidates: [], add }
}

function findOption(command: Command, name: string): Option | undefined {
  return command.options.find(({ long, short }) => long === name || short === name)
}

/** Variadic, or collected: its value is a list from the beginning. */
function isRepeatable(option: Option): boolean {
  return option.variadic || Array.isArray(option.defaultValue)
}

function startingWith(start: string, { candidates, add }: Completion): Completion {
  return { candidates: candidates.filter(({ value }) => value.startsWith(start)), add }
}

/** bash and zsh hand words on as they were typed. */
function withoutQuotes(word: string): string {
  const [, , quoted] = /^(['"])(.*)\1$/s.exec(word) ?? []
  return quoted ?? word.replaceAll(/\\(.)/gs, '$1')
}

const FILES: ReadonlySet<string> = new Set(['file', 'files', 'module', 'report', 'before', 'after'])
const FOLDERS: ReadonlySet<string> = new Set(['folder', 'folders', 'directory'])

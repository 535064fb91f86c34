/** Collects everything that is wrong or doubtful in one configuration, each with its place in the file. */

import { ConfigError, type ConfigProblem, problemText } from '../errors.ts'
import { type ConfigDocument, type Path, pathText } from './document.ts'
import type { Finding } from './structure.ts'

export class Report {
  readonly #document: ConfigDocument
  readonly #problems: ConfigProblem[] = []
  readonly #warnings: ConfigProblem[] = []
  readonly #found: Path[] = []

  constructor(document: ConfigDocument) {
    this.#document = document
  }

  /** In the words of ConfigProblem, in the order of the file. */
  get warnings(): readonly string[] {
    return inFileOrder(this.#warnings).map(problemText)
  }

  /** What the schema says. */
  find(finding: Finding): void {
    this.#found.push(finding.path)
    this.#problems.push(this.#problem(finding))
  }

  /** What the resolvers say, except where it only follows from what the schema has said: `tokn` explains a missing token. */
  error(path: Path, message: string, code: ConfigProblem['code'] = 'ERR_CONFIG_VALUE'): void {
    if (this.#found.some((found) => path.every((step, index) => found[index] === step))) return
    this.#problems.push(this.#problem({ code, path, message, at: 'value' }))
  }

  warn(path: Path, message: string): void {
    this.#warnings.push(this.#problem({ code: 'ERR_CONFIG_VALUE', path, message, at: 'value' }))
  }

  /** @throws {ConfigError} with all problems, if there is one. */
  throwIfAny(): void {
    if (this.#problems.length > 0) throw new ConfigError(inFileOrder(this.#problems))
  }

  #problem({ code, path, message, at }: Finding): ConfigProblem {
    return {
      code,
      file: this.#document.file,
      ...this.#document.place(path, at),
      path: pathText(path),
      message,
    }
  }
}

function inFileOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
}

/** Where in its file something stands that was found to be wrong after loading. */

import type { ConfigProblem } from '../errors.ts'
import type { Config } from './config.ts'
import { type Path, parseConfigDocument, pathText } from './document.ts'

/** @returns in the given order. */
export function problemsAt(
  { file, text }: Pick<Config, 'file' | 'text'>,
  code: ConfigProblem['code'],
  found: readonly { readonly path: Path; readonly message: string }[],
): readonly ConfigProblem[] {
  if (found.length === 0) return []
  const document = parseConfigDocument(file, text)
  return found.map(({ path, message }) => {
    return { code, file, ...document.place(path, 'value'), path: pathText(path), message }
  })
}

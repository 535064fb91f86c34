/** Where the distributions put PKCS#11 modules: one folder, or one for each machine type beside others (Debian). */

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @param names of the file, relative to a library folder, likeliest first.
 * @param install the packages that have it, for whoever reads the error.
 * @throws when no folder has it: a test that needs it fails.
 */
export function moduleFile(names: readonly string[], install: string): string {
  const found = folders().flatMap((folder) => names.map((name) => join(folder, name)))
  const file = found.find((path) => existsSync(path))
  if (file === undefined) throw new Error(`${names[0]} not found; install ${install}`)
  return file
}

function folders(): readonly string[] {
  const multiarch = readdirSync('/usr/lib').map((name) => `/usr/lib/${name}`)
  return ['/usr/lib64', ...multiarch, '/usr/lib', '/opt/homebrew/lib', '/usr/local/lib']
}

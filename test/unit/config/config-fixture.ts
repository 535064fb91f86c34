/** A folder with everything a small configuration names, and `load` for variations of it. */

import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../../../src/config/config.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { ConfigError, type ConfigProblem } from '../../../src/errors.ts'
import { certificateFixture } from './certificates-fixture.ts'

/** Appears in the PIN file; must appear nowhere else. */
export const PIN = 'PIN-8d2f61'

export const GOOD = `
hsms:
  hsm-a:
    module: module.so
    token: web-a
    pin: { file: hsm.pin }
    env: { SOFTHSM2_CONF: ./softhsm2.conf, LEVEL: debug }
certificates:
  - chain: leaf.pem
    key: { uri: "pkcs11:object=web;id=%01%02;type=private", hsms: [hsm-a] }
listeners:
  - { address: "127.0.0.1:8443", protocol: http, upstream: web }
upstreams:
  web: { servers: ["http://127.0.0.1:9000"] }
`

export interface ConfigFixture {
  readonly directory: string
  load(yaml: string): Promise<Config>
  /** @throws when the configuration is accepted. */
  problems(yaml: string): Promise<readonly ConfigProblem[]>
  /** `path: message` of each. */
  complaints(yaml: string): Promise<readonly string[]>
  [Symbol.dispose](): void
}

export function configFixture(): ConfigFixture {
  const made = certificateFixture()
  const { directory } = made
  made.issue('leaf', { names: 'DNS:localhost' })
  writeFileSync(join(directory, 'module.so'), 'a module is only loaded by the host process')
  writeFileSync(join(directory, 'hsm.pin'), `${PIN}\n`)
  chmodSync(join(directory, 'hsm.pin'), 0o600)

  const load = (yaml: string) => {
    const file = join(directory, 'sealgate.yaml')
    writeFileSync(file, yaml)
    return loadConfig(file)
  }
  const problems = async (yaml: string) => {
    try {
      await load(yaml)
    } catch (error) {
      if (error instanceof ConfigError) return error.problems
      throw error
    }
    throw new Error('the configuration was accepted')
  }
  return {
    directory,
    load,
    problems,
    complaints: async (yaml) => (await problems(yaml)).map(({ path, message }) => `${path}: ${message}`),
    [Symbol.dispose]: () => made[Symbol.dispose](),
  }
}

/** The good configuration with one text replaced; the text must be there. */
export function good(text: string, replacement: string): string {
  if (!GOOD.includes(text)) throw new Error(`not in the good configuration: ${text}`)
  return GOOD.replace(text, replacement)
}

export function privateKeyText(directory: string): string {
  return readFileSync(join(directory, 'leaf.key'), 'utf8')
}

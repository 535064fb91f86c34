/** One HSM, looked at by the probe in its child process, and all that came of it. */

import { HsmError, SealgateError } from '../errors.ts'
import type { KeyMessage } from '../hsm/messages.ts'
import type { HsmOptions } from '../hsm/options.ts'
import { runTokenJob } from '../token/run-token-job.ts'
import { type Fact, type FactOf, type ProbeRequest, parseFact } from './facts.ts'

/** An HSM to look at; of a configuration or of the command line. */
export interface Patient {
  readonly hsm: HsmOptions
  /** null: no configuration speaks of keys. */
  readonly keys: readonly KeyMessage[] | null
  /** The token was not named. */
  readonly anyToken: boolean
  /** False: there is no PIN to try. */
  readonly login: boolean
  /** Tokens that have refused a PIN a moment ago (`tokenIdentity`). */
  readonly refused?: readonly string[]
}

export class Examination {
  readonly patient: Patient
  #facts: Fact[] = []
  /** The last call that was announced. */
  #calling: FactOf<'calling'> | undefined
  /** Why it ended before its time. */
  end: { readonly how: 'crashed' | 'hung' | 'failed'; readonly error: SealgateError } | undefined

  constructor(patient: Patient) {
    this.patient = patient
  }

  get lastCall(): Pick<FactOf<'calling'>, 'call' | 'about'> | undefined {
    return this.#calling
  }

  add(fact: Fact): void {
    if (fact.fact === 'calling') this.#calling = fact
    else if (fact.fact === 'again') this.#facts = this.all('library')
    else this.#facts.push(fact)
  }

  one<F extends Fact['fact']>(kind: F): FactOf<F> | undefined {
    return this.all(kind)[0]
  }

  all<F extends Fact['fact']>(kind: F): FactOf<F>[] {
    return this.#facts.filter((fact): fact is FactOf<F> => fact.fact === kind)
  }

  /** The token that was chosen. */
  get token(): FactOf<'slots'>['tokens'][number] | undefined {
    const slot = this.one('chosen')?.slot
    return this.one('slots')?.tokens.find((token) => token.slot === slot)
  }

  /** A PKCS#11 function that failed, of those that the probe went on without. */
  failure(call: string): FactOf<'failed'> | undefined {
    return this.all('failed').find((failed) => failed.call === call)
  }
}

/** @param limitMs the longest that one call may take. Never rejects for what the module does. */
export async function examine(patient: Patient, limitMs: number): Promise<Examination> {
  const examination = new Examination(patient)
  const { keys, anyToken, login, refused = [] } = patient
  try {
    await runTokenJob(patient.hsm, {
      job: new URL('./probe/job.ts', import.meta.url),
      args: { keys, anyToken, login, refused } satisfies ProbeRequest,
      result: () => undefined,
      onProgress: (value) => examination.add(parseFact(value)),
      limitMs,
    })
  } catch (error) {
    if (!(error instanceof SealgateError)) throw error
    examination.end = { how: HOW.get(error.code) ?? 'failed', error }
  }
  return examination
}

/** Why it ended before its time; the subject of the findings says already which HSM it was. */
export function endingText({ end, patient: { hsm } }: Examination): string {
  const text = end?.error.message ?? ''
  const prefix = `hsm "${hsm.name}": `
  return text.startsWith(prefix) ? text.slice(prefix.length) : text
}

/** The PKCS#11 return value that ended an examination, if one did. */
export function endedBy({ end }: Examination): { readonly call: string; readonly rv: number } | undefined {
  const error = end?.error
  return error instanceof HsmError && error.rv !== undefined && error.call !== undefined
    ? { call: error.call, rv: error.rv }
    : undefined
}

const HOW: ReadonlyMap<string, 'crashed' | 'hung'> = new Map([
  ['ERR_TOKEN_CRASHED', 'crashed'],
  ['ERR_TOKEN_TIMEOUT', 'hung'],
])

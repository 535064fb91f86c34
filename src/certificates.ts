/** The certificates of the configuration and the HSMs behind their keys: who can be served, who cannot, and why. */

import type { Config } from './config/config.ts'
import { problemsAt } from './config/places.ts'
import { HsmError, problemText } from './errors.ts'
import {
  type KeyOutlook,
  type ServiceKey,
  SigningService,
  type SigningServiceOptions,
  type SigningState,
  UnprovedKeys,
} from './hsm/signing-service.ts'
import type { SigningKey } from './signing.ts'

/** Other certificates and keys beside those in use. To be ended by `commit` or `abandon`, once. */
export interface CertificatesChange {
  /** HSMs that get a new host process. */
  readonly restarted: readonly string[]
  /** Of the certificate at that place in the new configuration. */
  key(index: number): ServiceKey
  /** Lets every new key sign. @throws {HsmError} when one does not, within `limitMs`, with its place in the file. */
  prove(limitMs: number): Promise<void>
  /** @param lingerMs how long the keys of before may still be asked. */
  commit(lingerMs: number): void
  abandon(): Promise<void>
}

export class Certificates {
  /** A key for each certificate, in order; behind them that of the audit log's checkpoints. */
  readonly signing: SigningService
  #certificates: Config['certificates']

  constructor(config: Config, ours: Pick<SigningServiceOptions, 'log' | 'metrics' | 'onHealth' | 'onUse'>) {
    this.#certificates = config.certificates
    this.signing = new SigningService({ ...signingState(config), ...ours })
  }

  /** @throws {HsmError} `ERR_HSM_PIN` when a new host would try a PIN that was refused. */
  change(config: Config): CertificatesChange {
    const change = this.signing.change(signingState(config))
    return {
      restarted: change.restarted,
      key: (index) => change.key(index),
      prove: async (limitMs) => {
        try {
          await change.prove(limitMs)
        } catch (error) {
          throw error instanceof UnprovedKeys ? placedError(error, config) : error
        }
      },
      commit: (lingerMs) => {
        change.commit(lingerMs)
        this.#certificates = config.certificates
      },
      abandon: () => change.abandon(),
    }
  }

  /** The key of the audit log's checkpoints, whichever host holds it at the time. */
  checkpointKey(): SigningKey {
    const key = (): SigningKey => this.signing.key(this.#certificates.length)
    return {
      get spki() {
        return key().spki
      },
      get schemes() {
        return key().schemes
      },
      sign: (request) => key().sign(request),
    }
  }

  /** Nobody can sign for these now. */
  unserved(): Config['certificates'] {
    return this.#certificates.filter((_, index) => !this.signing.key(index).ready)
  }

  /** There is something to open listeners for. */
  get anyServed(): boolean {
    return this.#certificates.length === 0 || this.unserved().length < this.#certificates.length
  }

  /** All certificates are in one of these states. */
  areAll(...states: readonly KeyOutlook['state'][]): boolean {
    return this.#outlooks().every(({ outlook }) => states.includes(outlook.state))
  }

  /** One line for each certificate that nobody can sign for. */
  reasons(): string[] {
    return this.#outlooks().flatMap(({ certificate, outlook }) => {
      if (outlook.state === 'ready') return []
      const why = outlook.problems.map(({ message }) => `; ${message}`).join('')
      return `no HSM can sign for ${certificate.file}${why}`
    })
  }

  /** Of the certificates that nobody can sign for. One problem is told as it is; several are all told. */
  error(): HsmError {
    const unserved = this.#outlooks().filter(({ outlook }) => outlook.state !== 'ready')
    const problems = unserved.flatMap(({ outlook }) => outlook.problems)
    const told = new Map(problems.map((problem) => [problem.message, problem]))
    const [first, ...more] = told.values()
    if (first !== undefined && more.length === 0) return first
    const files = unserved.map(({ certificate }) => certificate.file).join(', ')
    const reasons = [...told.keys()].map((message) => `\n  ${message}`).join('')
    const errors = [...told.values()]
    return new HsmError('ERR_HSM_ALL_FAILED', `no HSM can sign for ${files}:${reasons}`, { errors })
  }

  /** For /status. */
  status(): readonly unknown[] {
    return this.#outlooks().map(({ certificate, key, outlook: { state, problems } }, index) => ({
      file: certificate.file,
      names: certificate.names,
      keyType: certificate.keyType,
      key: key.uri,
      hsms: key.hsms,
      ready: state === 'ready',
      state,
      problems: problems.map(({ message }) => message),
      signing: this.signing.key(index).status(),
      daysLeft: Math.floor((certificate.notAfterMs - Date.now()) / DAY_MS),
    }))
  }

  #outlooks() {
    return this.#certificates.map((entry, index) => ({
      ...entry,
      outlook: this.signing.key(index).outlook(),
    }))
  }
}

function signingState({ certificates, hsms, signing, audit }: Config): SigningState {
  const keys = certificates.map(({ certificate, key }) => ({ key, spki: certificate.spki }))
  const checkpoint = audit?.checkpoint
  return {
    hsms,
    keys: checkpoint === undefined ? keys : [...keys, { ...checkpoint, purpose: 'audit-checkpoint' }],
    signing,
  }
}

/** A line for each key, with where it stands in the configuration. */
function placedError({ keys, errors }: UnprovedKeys, config: Config): HsmError {
  const found = keys.flatMap(({ places, error: { message } }) =>
    places.map((place) => ({ path: keyPath(place, config), message })),
  )
  const text = problemsAt(config, 'ERR_CONFIG_VALUE', found).map(problemText).join('\n')
  return new HsmError('ERR_HSM_ALL_FAILED', text, { errors })
}

function keyPath(place: number, { certificates }: Config): readonly PropertyKey[] {
  return place < certificates.length ? ['certificates', place, 'key'] : ['audit', 'checkpoint', 'key']
}

const DAY_MS = 24 * 3600 * 1000

/** What `sealgate check` does with a configuration that has been read: everything short of serving somebody. */

import { Certificates } from './certificates.ts'
import type { Config } from './config/config.ts'
import { askingListeners, tlsListeners } from './config/tls-listeners.ts'
import { isForDrills } from './drill/module.ts'
import type { SealgateError } from './errors.ts'
import { createLog } from './log.ts'
import { createMetrics } from './metrics/metrics.ts'
import { loadAddon } from './native/addon.ts'
import { checkStapling } from './stapling/check.ts'
import { ticketFindings } from './ticket-check.ts'
import { checkClientAuthentications } from './tls/client-authentication.ts'
import { tlsFindings } from './tls/findings.ts'

export interface CheckFinding {
  readonly level: 'ok' | 'warning' | 'error'
  readonly subject: string
  readonly message: string
  readonly error?: SealgateError
}

/** Reaches every HSM, matches every key with its certificate, signs and verifies once, and stops. */
export async function checkConfig(config: Config): Promise<readonly CheckFinding[]> {
  // The findings say it all; a line of log between them would be noise.
  const { log, flush } = createLog({ level: 'silent' })
  const { signing } = new Certificates(config, { log, metrics: createMetrics() })
  try {
    const stapling = checkStapling(loadAddon(), config.certificates, config.stapling)
    const problems = await signing.start()
    const certificates = config.certificates.map(({ certificate, key }, index): CheckFinding => {
      const subject = certificate.file
      const names = certificate.names.join(', ')
      const { ready, schemes } = signing.key(index)
      if (!ready) return { level: 'error', subject, message: `no HSM signs with ${key.uri} for ${names}` }
      return { level: 'ok', subject, message: `${names}: ${schemes.map(({ name }) => name).join(' ')}` }
    })
    const hsms = problems.map((error): CheckFinding => {
      return { level: 'error', subject: error.hsm ?? 'hsm', message: error.message, error }
    })
    const well = signing.status().filter(({ name }) => !problems.some(({ hsm }) => hsm === name))
    const up = well.map(({ name }): CheckFinding => ({ level: 'ok', subject: name, message: 'signs' }))
    const gaps = config.certificates.flatMap((_, index) =>
      signing
        .key(index)
        .gaps()
        .map(({ hsm, message }): CheckFinding => {
          return { level: 'warning', subject: hsm, message }
        }),
    )
    const tls = tlsFindings(
      tlsListeners(config),
      config.certificates.map(({ certificate }, index) => ({
        certificate,
        schemes: signing.key(index).schemes,
      })),
    )
    const tickets = await ticketFindings(config, signing)
    const found = [...hsms, ...up, ...gaps, ...drills(config), ...certificates, ...tls]
    return [...found, ...(await stapling), ...clientCertificates(config), ...tickets]
  } finally {
    await signing.close()
    flush()
  }
}

function clientCertificates(config: Config): CheckFinding[] {
  return checkClientAuthentications(loadAddon(), askingListeners(config)).map(
    ({ listener: { name, authentication }, error }): CheckFinding => {
      if (error !== undefined) return { level: 'error', subject: name, message: error.message, error }
      const { authorities, revocationLists } = authentication.trust
      const lists = revocationLists.length === 0 ? 'none' : String(revocationLists.length)
      const message = `${authentication.mode}s client certificates: ${authorities.length} CAs, revocation lists: ${lists}`
      return { level: 'ok', subject: name, message }
    },
  )
}

function drills({ hsms }: Config): CheckFinding[] {
  const message = 'behind the fault module, which is for drills only'
  return hsms
    .filter(({ env }) => isForDrills(env))
    .map(({ name }) => ({ level: 'warning', subject: name, message }))
}

/** An order in the addon's words: whom to connect to, whom to believe, and when to begin. */

import { rootCertificates } from 'node:tls'

import type { NativeLoadOptions, NativeLoadPlan } from '../../native/addon.ts'
import type { ClientOrder } from './messages.ts'
import { isLoopback } from './target.ts'

export function loadOptions(order: ClientOrder): NativeLoadOptions {
  const { address, port, servername, ca, insecure, tls, alpn, timeoutMs, reset, resumed } = order
  return {
    address,
    port,
    serverName: servername ?? '',
    version: tls === '1.2' ? 'TLSv1.2' : 'TLSv1.3',
    alpn,
    verify: !insecure,
    authorities: (ca ?? rootCertificates).join('\n'),
    expectedName: servername ?? address,
    timeoutMs,
    reset,
    tickets: resumed > 0,
    ...sourcesOf(order),
  }
}

/** The processes take turns: together they are one even schedule. */
export function loadPlan({ load, process, of, resumed }: ClientOrder): NativeLoadPlan {
  if ('connections' in load) {
    return { connections: load.connections, firstMs: 0, intervalMs: 0, maxOpen: 0, resumed }
  }
  const intervalMs = 1000 / load.perSecond
  return { connections: 0, firstMs: (intervalMs * process) / of, intervalMs, maxOpen: MAX_OPEN, resumed }
}

/**
 * Each closed connection holds its port for a minute (TIME_WAIT), and one address has 28,000 of them. All of
 * 127.0.0.0/8 is this machine, so on loopback the connections come from many addresses; every process has its own.
 */
function sourcesOf({
  address,
  process,
  of,
}: ClientOrder): Pick<NativeLoadOptions, 'sourceFirst' | 'sourceStep'> {
  return isLoopback(address) ? { sourceFirst: process, sourceStep: of } : { sourceFirst: 0, sourceStep: 0 }
}

// Far more than any listener answers at a time; only against a run that would take all memory.
const MAX_OPEN = 4096

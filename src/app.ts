/**
 * The composition root: builds the parts from a configuration, starts them in order, stops them in reverse.
 *
 * The operator's window first, then HSMs, TLS, the HTTP workers, and last the listeners: they stay closed until somebody
 * can sign, because a refused connection is one that a balancer takes elsewhere. Nothing else in Sealgate knows more
 * than one part. Long because the whole order stands here, beside what undoes it.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { type AdminSource, type Readiness, startAdminServer } from './admin/admin-server.ts'
import { AuditLog } from './audit/audit-log.ts'
import { AuditedKey } from './audit/audited-key.ts'
import { Certificates } from './certificates.ts'
import { type Changed, changeTo } from './change.ts'
import type { Config } from './config/config.ts'
import { readTrustFiles } from './config/trust-files.ts'
import { isForDrills } from './drill/module.ts'
import { TlsError } from './errors.ts'
import { ExpiryWarnings } from './expiry.ts'
import type { ServiceKey } from './hsm/signing-service.ts'
import { type OpenListener, openListener } from './listening.ts'
import { createLog, type Log } from './log.ts'
import { exposition } from './metrics/exposition.ts'
import { createMetrics, setTo } from './metrics/metrics.ts'
import { tlsMetrics } from './metrics/tls-metrics.ts'
import { loadAddon } from './native/addon.ts'
import { tcpRoutingState, tlsState, workerOptions } from './part-states.ts'
import { HttpWorkers } from './proxy/workers.ts'
import { Reloads } from './reload.ts'
import { Stapling } from './stapling/stapling.ts'
import { type SharedTicketKeys, shareTicketKeys, showOwnTicketKeys } from './ticket-sharing.ts'
import type { Credentials } from './tls/offers.ts'
import { provePort } from './tls/prove-port.ts'
import { TlsFront } from './tls/tls-front.ts'
import { TcpRouting } from './upstream/tcp-routing.ts'
import { packageVersion } from './version.ts'

export interface App {
  /** As bound, in the order of the configuration. */
  readonly listeners: readonly OpenListener[]
  /** Never resolves; rejects when it had started, waited for an HSM, and now cannot go on. It is to be destroyed then. */
  readonly failed: Promise<never>
  /** Loads the configuration anew; what is wrong with it is in the log, and changes nothing. */
  reload(): void
  /**
   * Stops accepting, lets open requests and connections end, and stops; what is still open at the drain timeout
   * is cut off. Idempotent.
   */
  drain(): Promise<void>
  /** Stops now. Idempotent. */
  destroy(): Promise<void>
}

export interface StartOptions {
  /** Start only when every certificate can be signed for, instead of waiting for HSMs that may come. */
  readonly strict: boolean
  /** Secrets of every connection go to this open file; see TlsFront. */
  readonly keyLogFd?: number
  /** The start is not wanted any more: nothing is waited for, no listener opens, and what has started is to be drained. */
  readonly signal?: AbortSignal
}

/**
 * Resolves when the listeners are open, or when there is nobody to sign yet but somebody may come: the listeners open
 * by themselves then.
 *
 * @throws {HsmError} when no certificate can be signed for and nothing that is wrong heals by itself, or, if strict, when
 *   any certificate cannot; {TlsError} when an address cannot be listened on; {NativeError} when the addon does not
 *   load. Everything that had started is stopped then.
 */
export async function startApp(config: Config, options: StartOptions): Promise<App> {
  const app = new RunningApp(config, options)
  try {
    await app.start(options)
  } catch (error) {
    await app.destroy()
    throw error
  }
  return app
}

class RunningApp implements App {
  readonly listeners: OpenListener[] = []
  readonly failed: Promise<never>
  readonly #fail: (error: unknown) => void
  #config: Config
  readonly #options: StartOptions
  readonly #log: Log
  readonly #flush: () => void
  readonly #lostLines: () => number
  readonly #metrics = createMetrics()
  readonly #certificates: Certificates
  readonly #auditedKeys = new WeakMap<ServiceKey, AuditedKey>()
  readonly #tcp: TcpRouting
  readonly #expiry: ExpiryWarnings
  readonly #reloads: Reloads
  /** What has started, last first. */
  readonly #stops: (() => unknown)[] = []
  /** Of them what ends when a drain begins: TLS does not know these listeners. */
  readonly #plainStops: (() => unknown)[] = []
  #audit: AuditLog | undefined
  #stapling: Stapling | undefined
  #tls: TlsFront | undefined
  #sharedTickets: SharedTicketKeys | undefined
  #workers: HttpWorkers | undefined
  /** `waiting`: nobody can sign yet, the listeners are closed. */
  #state: 'starting' | 'waiting' | 'ready' | 'draining' | 'stopped' = 'starting'
  /** Draining, or stopped. */
  readonly #leaving = new AbortController()
  #reviewing: NodeJS.Immediate | undefined
  #opening: Promise<void> | undefined
  #drained: Promise<void> | undefined
  #destroyed: Promise<void> | undefined

  constructor(config: Config, options: StartOptions) {
    this.#config = config
    let fail: (error: unknown) => void = () => {}
    this.failed = new Promise((_, reject) => {
      fail = reject
    })
    this.failed.catch(() => {}) // whoever has started it decides whether to listen
    this.#fail = fail
    this.#options = options
    const { log, flush, lostLines } = createLog({ level: config.log.level })
    this.#log = log
    this.#flush = flush
    this.#lostLines = lostLines
    this.#certificates = new Certificates(config, {
      log,
      metrics: this.#metrics,
      onHealth: () => this.#reviewSoon(),
      onUse: (use) => this.#audit?.record(use),
    })
    this.#tcp = new TcpRouting(tcpRoutingState(config))
    this.#expiry = new ExpiryWarnings({ log, metrics: this.#metrics })
    this.#reloads = new Reloads({
      config,
      apply: (next, signal) => this.#change(next, signal),
      log,
      metrics: this.#metrics,
    })
    this.#stops.unshift(() => this.#expiry.close())
  }

  async start({ strict, signal }: StartOptions): Promise<void> {
    const left = this.#leaving.signal
    signal?.addEventListener('abort', () => this.#leaving.abort(), { signal: left })
    if (signal?.aborted === true) this.#leaving.abort()
    this.#watchExpiry()
    await this.#startAdmin()
    await this.#startAudit()
    if (left.aborted) return
    this.#startStapling()
    await this.#startSigning(strict)
    if (left.aborted) return
    const tls = this.#startTls()
    await this.#startTickets(tls)
    await this.#startWorkers(tls)
    if (left.aborted) return
    if (!this.#certificates.anyServed) await this.#wait()
    else if (this.#stapling?.complete === false) await this.#waitForStaples(tls)
    else await this.#open(tls)
    this.#reloads.begin()
  }

  reload(): void {
    this.#reloads.request('HUP')
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  destroy(): Promise<void> {
    this.#destroyed ??= this.#destroy()
    return this.#destroyed
  }

  /** Before the HSMs, whose logins are its first records. */
  async #startAudit(): Promise<void> {
    const { audit, file, sha256, signing } = this.#config
    if (audit === undefined) return
    const [log, metrics] = [this.#log, this.#metrics]
    const opened = await AuditLog.open({
      audit,
      version: packageVersion(),
      config: { file, sha256 },
      log,
      metrics,
    })
    this.#audit = opened
    this.#stops.unshift(() => opened.close())
    if (audit.checkpoint !== undefined) opened.signWith(this.#certificates.checkpointKey(), signing.timeoutMs)
  }

  /** Before the HSMs: responders answer meanwhile. */
  #startStapling(): void {
    const { stapling: options, certificates } = this.#config
    const [log, metrics] = [this.#log, this.#metrics]
    const onChange = (): void => this.#tls?.setStaples(this.#stapling?.staples() ?? [])
    const stapling = new Stapling({ addon: loadAddon(), options, log, metrics, onChange })
    this.#stapling = stapling
    this.#stops.unshift(() => stapling.close())
    stapling.update(certificates)
  }

  async #startSigning(strict: boolean): Promise<void> {
    const certificates = this.#certificates
    const left = this.#leaving.signal
    const { signing } = certificates
    this.#stops.unshift(() => signing.close())
    // Its end is signed for, too: while there are HSMs, and nobody asks for handshakes any more.
    this.#stops.unshift(() => this.#audit?.stop())
    const firstTries = signing.start()
    // A module that hangs must not keep the certificates of other HSMs from being served.
    await atMost(strict ? STRICT_TRIES_MS : FIRST_TRIES_MS, firstTries, left)
    if (left.aborted) return
    const unserved = certificates.unserved()
    if (unserved.length > 0 && (strict || certificates.areAll('misconfigured', 'given-up')))
      throw certificates.error()
    this.#warnOfHsms()
    if (!certificates.anyServed) return
    for (const { certificate } of unserved)
      this.#log.warn(
        { certificate: certificate.file, names: certificate.names },
        'nobody can sign for a certificate',
      )
  }

  #warnOfHsms(): void {
    const { signing } = this.#certificates
    this.#warnOfDrills(this.#config.hsms)
    for (const { hsm, code, message } of signing.problems())
      this.#log.warn({ hsm, code, reason: message }, 'HSM not ready')
    for (const { name, state } of signing.status())
      if (state === 'starting' || state === 'proving')
        this.#log.warn({ hsm: name, reason: 'it has not answered yet' }, 'HSM not ready')
  }

  #warnOfDrills(hsms: Config['hsms']): void {
    for (const { name } of hsms.filter(({ env }) => isForDrills(env)))
      this.#log.warn({ hsm: name }, 'the fault module stands in front of this HSM: it is for drills only')
  }

  /** Until somebody can sign. What would keep the listeners from opening then is found now. */
  async #wait(): Promise<void> {
    for (const { address } of this.#config.listeners) await provePort(address)
    this.#state = 'waiting'
    this.#log.warn({ reasons: this.#readiness('every').reasons }, 'waiting for an HSM')
    this.#reviewSoon()
  }

  /** Certificates that must not be without an OCSP response get a moment for it, in which all this can be stopped. */
  async #waitForStaples(tls: TlsFront): Promise<void> {
    for (const { address } of this.#config.listeners) await provePort(address)
    this.#log.info('waiting for OCSP responses')
    this.#open(tls).catch((error: unknown) => this.#fail(error))
  }

  /** Comes from the middle of a member's change; several members change together. */
  #reviewSoon(): void {
    this.#reviewing ??= setImmediate(() => {
      this.#reviewing = undefined
      this.#review()
    })
  }

  #review(): void {
    const tls = this.#tls
    tls?.refresh()
    void this.#sharedTickets?.hsmChanged()
    if (this.#state !== 'waiting' || tls === undefined || this.#opening !== undefined) return
    if (this.#certificates.anyServed) this.#open(tls).catch((error: unknown) => this.#fail(error))
    else if (this.#certificates.areAll('given-up')) this.#fail(this.#certificates.error())
  }

  #open(tls: TlsFront): Promise<void> {
    this.#opening ??= this.#openListeners(tls)
    return this.#opening
  }

  async #openListeners(tls: TlsFront): Promise<void> {
    const left = this.#leaving.signal
    await this.#stapling?.firstAnswers(this.#config.stapling.startWaitMs, left)
    if (left.aborted) return
    for (const id of this.#config.listeners.keys()) {
      const onStarted = (stop: () => unknown) => {
        this.#stops.unshift(stop)
        this.#plainStops.push(stop)
      }
      const [config, log, open] = [this.#config, this.#log, this.listeners]
      this.listeners.push(await openListener(id, { config, tls, log, open, onStarted }))
      if (left.aborted) return
    }
    this.#state = 'ready'
    this.#log.info({ listeners: this.listeners }, 'ready')
  }

  #startTls(): TlsFront {
    const config = this.#config
    const tls = new TlsFront({
      addon: loadAddon(),
      ...(this.#options.keyLogFd !== undefined && { keyLogFd: this.#options.keyLogFd }),
      threads: config.threads.tls,
      ...tlsState(config, (index) => this.#audited(this.#certificates.signing.key(index))),
      clientAuthentication: {
        read: readTrustFiles,
        onReloaded: (listener, refused) => {
          this.#reloads.note('client CAs', refused === undefined ? undefined : [`${listener}: ${refused}`])
        },
      },
      listenerName: (id) => this.#config.listeners[id]?.name ?? String(id),
      log: this.#log,
      metrics: this.#metrics,
      limited: (limit, outcome) => this.#metrics.handshakesLimited.labels(limit, outcome).inc(),
      routeTcp: (connection) => this.#tcp.destination(connection),
      onConnectFailed: (address) => this.#tcp.markFailed(address),
    })
    this.#tls = tls
    this.#stops.unshift(() => tls.close())
    tls.setStaples(this.#stapling?.staples() ?? [])
    return tls
  }

  /** The same object for the same key: TLS knows keys by it. */
  #audited(key: ServiceKey): Credentials['key'] {
    if (this.#audit === undefined || this.#config.audit?.overflow !== 'block') return key
    const audited = this.#auditedKeys.get(key) ?? new AuditedKey(key, this.#audit)
    this.#auditedKeys.set(key, audited)
    return audited
  }

  /** @throws as changeTo. Nothing has changed then. */
  async #change(next: Config, signal: AbortSignal): Promise<Changed> {
    const before = this.#config
    const [certificates, stapling] = [this.#certificates, this.#stapling]
    const [tls, workers] = [this.#tls, this.#workers]
    if (tls === undefined) throw new TlsError('ERR_TLS_LISTEN', 'Sealgate has ended')
    const keyFor = (key: ServiceKey) => this.#audited(key)
    const parts = { addon: loadAddon(), certificates, stapling, tls, workers, keyFor }
    const changed = await changeTo(next, before, parts, signal)
    this.#config = next
    this.#tcp.change(tcpRoutingState(next))
    this.#log.level = next.log.level
    const { file, sha256 } = next
    this.#audit?.reloaded({ file, sha256 })
    for (const warning of next.warnings.filter((each) => !before.warnings.includes(each)))
      this.#log.warn(warning)
    this.#warnOfDrills(next.hsms.filter(({ name }) => changed.newHosts.includes(name)))
    this.#watchExpiry()
    this.#reviewSoon()
    return changed
  }

  #watchExpiry(): void {
    this.#expiry.watch(this.#config.certificates.map(({ certificate }) => certificate))
  }

  /** Before the listeners open, so that the first tickets are the fleet's; but nobody waits for a place that is away. */
  async #startTickets(tls: TlsFront): Promise<void> {
    const { signing } = this.#certificates
    const [log, metrics] = [this.#log, this.#metrics]
    const apply: TlsFront['shareTicketKeys'] = (keys) => tls.shareTicketKeys(keys)
    const shared = shareTicketKeys(this.#config, { signing, log, metrics, apply })
    if (shared === undefined) return
    this.#sharedTickets = shared
    this.#stops.unshift(() => shared.close())
    await atMost(FIRST_TICKETS_MS, shared.look(), this.#leaving.signal)
  }

  async #startWorkers(tls: TlsFront): Promise<void> {
    const worker = workerOptions(this.#config)
    if (worker.listeners.length === 0) return
    const workers = new HttpWorkers({
      count: this.#config.threads.http,
      worker,
      log: this.#log,
      onReceivers: (ids) => tls.setReceivers(ids),
    })
    this.#workers = workers
    this.#stops.unshift(() => workers.close())
    tls.setReceivers(await workers.start())
  }

  async #startAdmin(): Promise<void> {
    if (this.#config.admin === undefined) return
    const source: AdminSource = {
      ready: (wanted) => this.#readiness(wanted),
      status: () => this.#status(),
      metrics: () => this.#exposition(),
    }
    const admin = await startAdminServer(this.#config.admin.address, source, this.#log)
    this.#stops.unshift(() => admin.close())
    this.#log.info({ host: admin.host, port: admin.port }, 'admin')
  }

  #readiness(wanted: 'every' | 'any'): Readiness {
    const reasons = [...this.#certificates.reasons(), ...(this.#stapling?.reasons() ?? [])]
    if (this.#state === 'waiting')
      reasons.push('waiting: the listeners open when a certificate can be signed for')
    else if (this.#state !== 'ready') reasons.push(this.#state)
    const enough = wanted === 'every' ? reasons.length === 0 : this.#certificates.anyServed
    return { ready: enough && this.#state === 'ready', reasons }
  }

  #status(): unknown {
    return {
      state: this.#state,
      listeners: this.listeners,
      hsms: this.#certificates.signing.status(),
      certificates: this.#certificates.status(),
      stapling: this.#stapling?.status(),
      upstreams: this.#config.upstreams.map(({ name, servers }) => ({
        name,
        servers: servers.map(({ scheme, host, port }) => `${scheme}://${host}:${port}`),
      })),
      reload: { ...this.#reloads.status(), lingeringHosts: this.#certificates.signing.lingering },
      audit: this.#audit?.status(),
      tickets: { own: this.#tls?.ownTicketKeys, shared: this.#sharedTickets?.status() },
      tls: this.#tls?.stats(),
    }
  }

  async #exposition(): Promise<string> {
    if (this.#tls !== undefined)
      showOwnTicketKeys(this.#metrics, this.#tls.ownTicketKeys, this.#sharedTickets)
    setTo(this.#metrics.logLinesLost, this.#lostLines())
    const own = await this.#metrics.registry.getMetricsAsJSON()
    const workers = (await this.#workers?.metrics()) ?? []
    const listenerName = (id: number): string => this.#config.listeners[id]?.name ?? String(id)
    const tls = this.#tls === undefined ? [] : [tlsMetrics(this.#tls.stats(), listenerName)]
    return exposition([own, ...tls, ...workers])
  }

  async #drain(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#state = 'draining'
    this.#leaving.abort()
    void this.#reloads.close()
    this.#log.info({ timeoutMs: this.#config.drainTimeoutMs }, 'draining')
    await this.#opening?.catch(() => {}) // it stops at the next listener
    const deadlineMs = performance.now() + this.#config.drainTimeoutMs
    this.#tls?.drain(
      this.#config.listeners.flatMap(({ protocol }, id) => (protocol === 'redirect' ? [] : [id])),
    )
    void this.#workers?.drain()
    for (const stop of this.#plainStops) void stop()
    while (this.#openConnections() > 0 && performance.now() < deadlineMs) await delay(DRAIN_POLL_MS)
    const cut = this.#openConnections()
    if (cut > 0) this.#log.warn({ connections: cut }, 'drain timeout: open connections are cut off')
    await this.destroy()
  }

  #openConnections(): number {
    const connections = this.#tls?.stats().connections ?? []
    return connections.reduce((sum, { handshaking, idle, active }) => sum + handshaking + idle + active, 0)
  }

  async #destroy(): Promise<void> {
    this.#state = 'stopped'
    this.#leaving.abort()
    clearImmediate(this.#reviewing)
    // The operator's window closes last, and shows nothing of what is gone.
    this.#tls = undefined
    this.#workers = undefined
    await this.#opening?.catch(() => {})
    await this.#reloads.close()
    for (const stop of this.#stops.splice(0)) await stop()
    this.#log.info('stopped')
    this.#flush()
  }
}

const DRAIN_POLL_MS = 20
// Logging in to an HSM over a network takes a few seconds.
const FIRST_TRIES_MS = 5_000
// Each ends by itself, also one that hangs.
const STRICT_TRIES_MS = 3_600_000
// A file is read at once, and a Redis that is there has answered by then.
const FIRST_TICKETS_MS = 2_000

/** Does not wait longer, nor when `signal` ends the wait; and does not stop it either. */
async function atMost(ms: number, done: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const over = new AbortController()
  const limit = delay(ms, undefined, { signal: AbortSignal.any([signal, over.signal]) })
  await Promise.race([done, limit.catch(() => {})])
  over.abort()
}

/** What the main thread and an HTTP worker say to each other; all of it survives a structured clone. */

import type { MetricObjectWithValues, MetricValue } from 'prom-client'
import type { UpstreamOptions } from '../upstream/options.ts'
import type { HttpListenerOptions } from './options.ts'

export interface WorkerOptions {
  readonly listeners: readonly WorkerListener[]
  readonly upstreams: readonly UpstreamOptions[]
  readonly log: { readonly access: boolean }
}

export interface WorkerListener {
  /** The one under which the listener was given to the terminator. */
  readonly id: number
  readonly http: HttpListenerOptions
  /** The names of each certificate: other hosts are refused (authority.ts). undefined: none is. */
  readonly certificateNames?: readonly (readonly string[])[]
}

export type ToWorker =
  | { readonly type: 'metrics'; readonly request: number }
  /** Requests are served by these from now on, on open connections too. */
  | { readonly type: 'change'; readonly change: number; readonly options: WorkerOptions }
  | { readonly type: 'drain' }
  /** Ends everything now; the worker exits. */
  | { readonly type: 'close' }

export type FromWorker =
  | { readonly type: 'ready'; readonly receiverId: number }
  | { readonly type: 'metrics'; readonly request: number; readonly metrics: MetricsJson }
  | { readonly type: 'changed'; readonly change: number }
  | { readonly type: 'drained' }

/** As prom-client's `getMetricsAsJSON()` gives it and its `AggregatorRegistry.aggregate()` takes it. */
export type MetricsJson = MetricObjectWithValues<MetricValue<string>>[]

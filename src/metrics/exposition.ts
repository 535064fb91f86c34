/** Many threads, one page: adds up what the main thread, the HTTP workers and the TLS threads have counted. */

import { AggregatorRegistry } from 'prom-client'

/**
 * What one thread has counted: `registry.getMetricsAsJSON()`, or `tlsMetrics(...)`. Plain data: it travels between
 * threads by structured clone.
 */
export type MetricsSnapshot = readonly object[]

/** `Content-Type` of the text. */
export const EXPOSITION_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * @returns the Prometheus text format, version 0.0.4. Samples with the same name and labels are added;
 *   a metric that only one thread has appears as it is.
 */
export async function exposition(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  return AggregatorRegistry.aggregate(snapshots.map((snapshot) => [...snapshot])).metrics()
}

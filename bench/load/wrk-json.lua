-- wrk prints its summary as one line of JSON. Nothing here runs per request.
-- Units: latency in milliseconds, duration in seconds.

function done(summary, latency, requests)
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.3f,"bytes":%d,"latencyMs":{"p50":%.3f,"p90":%.3f,"p99":%.3f,"max":%.3f},' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.status,
    summary.errors.timeout))
end

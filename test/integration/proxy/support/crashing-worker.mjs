// The built worker, in a thread that soon meets an error nobody catches.
await import('../../../../dist/proxy/worker.js')
setTimeout(() => {
  throw new Error('crash on purpose')
}, 500)

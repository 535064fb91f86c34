// @ts-check
/** `npm start`: from a fresh checkout to a proxy whose key is in an HSM. */

import { onEndSignal } from './command.mjs'
import { shellPath, statePaths } from './paths.mjs'
import { claimPort, freePort } from './ports.mjs'
import { prepare } from './prepare.mjs'
import { HELP, parseStartOptions } from './start-options.mjs'
import { runMain, step } from './steps.mjs'

const USUAL_ADMIN_PORT = 9901

await runMain(async () => {
  const options = parseStartOptions(process.argv.slice(2))
  if (options.help) {
    process.stdout.write(HELP)
    return 0
  }
  // Before the set-up: a port in use should be told at once, not after minutes.
  const port = await claimPort(options.port, '--port')
  const adminPort =
    options.adminPort === undefined
      ? await freePort(USUAL_ADMIN_PORT)
      : await claimPort(options.adminPort, '--admin-port')

  const paths = statePaths(options.state)
  await prepare(paths)
  return serve(paths, { port, adminPort, upstream: options.upstream })
})

/**
 * Runs the demo and the proxy until a signal or the proxy's own end.
 *
 * @param {import('./paths.mjs').StatePaths} paths
 * @param {{ port: number, adminPort: number, upstream: string | undefined }} options
 * @returns {Promise<number>} exit status
 */
async function serve(paths, { port, adminPort, upstream }) {
  // The npm packages are there only now.
  const { startDemoUpstream } = await import('./demo-upstream.mjs')
  const { writeProxyConfig } = await import('./proxy-config.mjs')
  const { startProxy } = await import('./proxy-process.mjs')

  const demo = upstream === undefined ? await startDemoUpstream({ port: 0 }) : undefined
  writeProxyConfig(paths, { port, adminPort, upstream: upstream ?? demo?.url ?? '' })
  const proxy = startProxy(paths.config)
  const stopListening = onEndSignal(() => proxy.stop())
  process.stdout.on('error', () => proxy.stop()) // the reader of our output has gone
  const admin = `http://127.0.0.1:${adminPort}`
  try {
    await step('proxy', async () => {
      await proxy.ready(admin)
      return 'ready'
    })
    process.stdout.write(welcome({ port, admin, ca: paths.ca, upstream }))
    proxy.showLog()
    return await proxy.ended
  } finally {
    stopListening()
    demo?.close()
  }
}

/**
 * @param {{ port: number, admin: string, ca: string, upstream: string | undefined }} facts
 */
function welcome({ port, admin, ca, upstream }) {
  const url = `https://localhost:${port}/`
  return `
  ${url} → ${upstream ?? 'a demo page'}

  Try it:   curl --cacert ${shellPath(ca)} ${url}
  Metrics:  ${admin}/metrics   (also /status, /readyz)
  Browser:  import ${shellPath(ca)} as an authority; it can vouch for localhost only.
  Stop:     Ctrl-C

`
}

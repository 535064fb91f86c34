// @ts-check
/** `npm start`: from a fresh checkout to a proxy whose key is in an HSM. */

import { onEndSignal } from './command.mjs'
import { alone } from './lock.mjs'
import { shellPath, startLock, statePaths } from './paths.mjs'
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
  await choosePorts(options)

  const paths = statePaths(options.state)
  await prepare(paths)
  return serve(paths, options)
})

/**
 * @param {import('./start-options.mjs').StartOptions} options
 * @returns {Promise<{ port: number, adminPort: number }>}
 */
async function choosePorts(options) {
  const port = await claimPort(options.port, '--port')
  const adminPort =
    options.adminPort === undefined
      ? await freePort(USUAL_ADMIN_PORT)
      : await claimPort(options.adminPort, '--admin-port')
  return { port, adminPort }
}

/**
 * Runs the demo and the proxy until a signal or the proxy's own end.
 *
 * @param {import('./paths.mjs').StatePaths} paths
 * @param {import('./start-options.mjs').StartOptions} options
 * @returns {Promise<number>} exit status
 */
async function serve(paths, options) {
  // The npm packages are there only now.
  const { startDemoUpstream } = await import('./demo-upstream.mjs')
  const { writeProxyConfig } = await import('./proxy-config.mjs')
  const { startProxy } = await import('./proxy-process.mjs')

  const { upstream } = options
  const demo = upstream === undefined ? await startDemoUpstream({ port: 0 }) : undefined
  let stopListening = () => {}
  try {
    // Two at once would find the same ports free, and one would run with the other's configuration.
    const proxy = await alone(startLock, async () => {
      const { port, adminPort } = await choosePorts(options)
      writeProxyConfig(paths, { port, adminPort, upstream: upstream ?? demo?.url ?? '' })
      const proxy = startProxy(paths.config)
      stopListening = onEndSignal(() => proxy.stop())
      process.stdout.on('error', () => proxy.stop()) // the reader of our output has gone
      const admin = `http://127.0.0.1:${adminPort}`
      await step('proxy', async () => {
        await proxy.ready(admin)
        return 'ready'
      })
      process.stdout.write(welcome({ port, admin, ca: paths.ca, upstream }))
      return proxy
    })
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

// @ts-check
/** Puts together what every measurement needs: tools, credentials and the shared upstream. */

import { writeFile } from 'node:fs/promises'
import { WRK_OPENSSL_CONFIG } from '../measure/load.mjs'
import { startUpstream } from '../peers/nginx.mjs'
import { SEALGATE } from '../peers/peer.mjs'
import { requireBuild } from '../peers/sealgate.mjs'
import { createFileCredentials, createToken } from './token.mjs'
import { compileLoadTools, findTools } from './tools.mjs'
import { Workspace } from './workspace.mjs'

/**
 * @param {Pick<import('../peers/peer.mjs').Bench, 'seconds' | 'repeat' | 'rehearsals' | 'warmUp' | 'idleConnections' | 'settleMs' | 'without'>} settings
 * @returns {Promise<import('../peers/peer.mjs').Bench>} whoever gets it closes its workspace
 * @throws an Error with the command that installs or builds what is missing.
 */
export async function createBench(settings) {
  if (!settings.without.has(SEALGATE)) requireBuild()
  const tools = await findTools()
  const workspace = new Workspace()
  try {
    const { dir } = workspace
    const [load, token, file] = await Promise.all([
      compileLoadTools(dir),
      createToken(dir, tools),
      createFileCredentials(dir),
    ])
    const wrkConfig = `${dir}/wrk.cnf`
    await writeFile(wrkConfig, WRK_OPENSSL_CONFIG)
    const { port: upstreamPort } = await startUpstream({ workspace })
    return { ...settings, workspace, tools, load, token, file, wrkConfig, upstreamPort }
  } catch (error) {
    await workspace.close()
    throw error
  }
}

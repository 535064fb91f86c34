/** The last thing that a process does. */

/**
 * Ends with this status, in a short while at the latest.
 *
 * Node joins the threads that read files and look names up, and no `process.exit` leaves without them: one that waits for
 * a server of files that is gone would keep the process for as long.
 */
export async function end(status: number): Promise<never> {
  if (process.getActiveResourcesInfo().some((name) => THREAD_WORK.test(name))) await endWithin(status)
  process.exit(status)
}

async function endWithin(status: number): Promise<void> {
  try {
    const { loadAddon } = await import('../native/addon.ts')
    loadAddon().exitWithin(LIMIT_MS, status)
  } catch {
    // A command that works without the addon: it ends when the thread does.
  }
}

/** What is under way in libuv's thread pool: FSReqPromise, FSReqCallback, GetAddrInfoReqWrap, GetNameInfoReqWrap. */
const THREAD_WORK = /^(?:FSReq|Get\w+ReqWrap$)/
// What is merely slow may end in its own way.
const LIMIT_MS = 2000

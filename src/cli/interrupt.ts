/** Ctrl-C for commands that have something to show for the time they have had. */

/**
 * Runs `work` until it ends; INT or TERM aborts its signal, and a second one ends the process at once.
 *
 * @returns what `work` made of it; it is expected to return what it has when it is aborted.
 */
export async function untilInterrupted<T>(
  work: (signal: AbortSignal) => Promise<T>,
): Promise<{ readonly value: T; readonly interrupted: boolean }> {
  const controller = new AbortController()
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(INTERRUPTED_STATUS)
    controller.abort(new Error('interrupted'))
  }
  for (const signal of SIGNALS) process.on(signal, interrupt)
  try {
    return { value: await work(controller.signal), interrupted: controller.signal.aborted }
  } finally {
    for (const signal of SIGNALS) process.removeListener(signal, interrupt)
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const
/** 128 + SIGINT, as shells say it. */
const INTERRUPTED_STATUS = 130

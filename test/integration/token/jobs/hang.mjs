/** As a module hangs: the thread is blocked, after a few signs of life. */
export const job = {
  opens: 'nothing',
  async run({ args, progress }) {
    for (let sign = 0; sign < args.signs; sign++) {
      progress({ sign, pid: process.pid })
      await new Promise((resolve) => setTimeout(resolve, args.everyMs))
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  },
}

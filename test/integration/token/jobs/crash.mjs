export const job = {
  opens: 'nothing',
  async run() {
    process.stderr.write('vendor: assertion failed\n')
    await new Promise((resolve) => setTimeout(resolve, 50))
    process.kill(process.pid, 'SIGSEGV')
    await new Promise((resolve) => setTimeout(resolve, 60_000))
  },
}

/**
 * HUP from the first moment on. By default it ends the process, and systemd takes that for an end that was wanted: a reload
 * asked for while Sealgate is still being loaded would leave nothing running.
 */

let came = false

/** To be called before anything else is loaded. */
export function holdHup(): void {
  process.on('SIGHUP', () => {
    came = true
  })
}

/** One has come since holdHup(). */
export function hupCame(): boolean {
  return came
}

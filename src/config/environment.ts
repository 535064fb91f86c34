/** What the environment must not decide. */

/**
 * Takes `SSLKEYLOGFILE` away: an OpenSSL built with `enable-sslkeylog` would heed it, and an environment is set too
 * easily for what that gives away.
 *
 * @returns whether it was set.
 */
export function dropKeyLogVariable(): boolean {
  const was = process.env['SSLKEYLOGFILE'] !== undefined
  delete process.env['SSLKEYLOGFILE']
  return was
}

/** For a secret that the configuration says is in the environment: read when it is needed. */
export function environmentValue(name: string): string | undefined {
  return process.env[name]
}

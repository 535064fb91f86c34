/** How a server's address is written in logs, metrics and errors. */

/** `host:port`, an IPv6 host in brackets (RFC 3986 §3.2.2). */
export function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

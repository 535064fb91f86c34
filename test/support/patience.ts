/**
 * How long a test waits for what is to come: `vi.waitFor` alone gives up after a second, which a busy machine takes for
 * nothing. Who asserts that something is quick says so where it does.
 */
export const PATIENCE = { timeout: 15_000, interval: 20 }

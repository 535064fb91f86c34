import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // A test waits for states, and a machine that is busy with other work takes its time to come to them.
    testTimeout: 60_000,
    hookTimeout: 90_000,
    // As test/support/patience.ts: a second is nothing on a busy machine.
    expect: { poll: { timeout: 15_000, interval: 20 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'rings',
          include: ['test/{unit,integration,e2e}/**/*.test.ts'],
          // Two cores and real servers: more files in parallel would measure each other.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'chaos',
          include: ['test/chaos/**/*.test.ts'],
          // With all the rounds that may be played again (test/chaos/support/rounds.ts).
          testTimeout: 180_000,
          // Latencies are part of what these claim: one at a time, and after all others.
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})

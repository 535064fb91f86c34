/** `npm test` itself. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { descendants } from '../support/process-tree.ts'
import { runTool } from '../support/tools.ts'

test('Ctrl-C ends all of it, and not only the tool that runs', async () => {
  const child = spawn(nodeUnderTest, ['dev/test.mjs'], { cwd: checkout })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  // It would not stop before all tests have run, this one too.
  const limit = setTimeout(() => child.kill('SIGKILL'), 20_000)

  const ended = once(child, 'close')
  while (!(output.includes('types, tsconfig.json') && descendants(child.pid ?? 0).length > 0)) {
    await delay(10) // until the tool is there
  }

  child.kill('SIGINT')
  const [status] = await ended

  clearTimeout(limit)
  expect(status, output).toBe(130)
  expect(output.match(/^── .*/gm)).toEqual(['── types, tsconfig.json'])
  expect(output).toContain('Stopped by SIGINT.')
})

test('what failed is named, file by file, and so is what did not run', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sealgate-report-'))
  try {
    const imports = `import { expect, test } from ${JSON.stringify(join(checkout, 'node_modules/vitest/dist/index.js'))}`
    // Of a run of its own, which has to say that one of them did not run.
    const tests = [
      "test('holds', () => {})",
      "test('breaks', () => { expect(1).toBe(2) })",
      "test.skip('waits', () => {})",
    ]
    writeFileSync(join(folder, 'some.test.js'), [imports, ...tests].join('\n'))
    writeFileSync(join(folder, 'unreadable.test.js'), `${imports}\nthrow new Error('not today')`)
    writeFileSync(join(folder, 'vitest.config.js'), 'export default {}')
    const report = join(folder, 'report.json')

    await runTool(
      nodeUnderTest,
      [
        join(checkout, 'node_modules/vitest/vitest.mjs'),
        ...[
          'run',
          '--root',
          folder,
          '--config',
          join(folder, 'vitest.config.js'),
          '--reporter=json',
          `--outputFile.json=${report}`,
        ],
      ],
      { timeoutMs: 50_000 },
    )
    const { readReport }: { readReport(report: string, leftOut: boolean): unknown } = await import(
      new URL('../../dev/test-report.mjs', import.meta.url).href
    )

    const some = relative(checkout, join(folder, 'some.test.js'))
    const broken = [
      `${some} > breaks: AssertionError: expected 1 to be 2 // Object.is equality`,
      `${relative(checkout, join(folder, 'unreadable.test.js'))}: not today`,
    ]
    expect(readReport(report, true)).toEqual({ passed: 1, failures: expect.arrayContaining(broken) })
    expect(readReport(report, false)).toEqual({
      passed: 1,
      failures: expect.arrayContaining([...broken, `${some} > waits: skipped`]),
    })
    expect(readReport(join(folder, 'none.json'), false)).toEqual({ passed: 0, failures: ['no report'] })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

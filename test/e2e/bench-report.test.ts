/**
 * The HTML report of `sealgate bench sign` in a real browser: loads nothing, complains of nothing, has its plots with as many points as
 * steps, and can be read on a phone and on a wide screen, by day and by night.
 */

import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readSignReport } from '../../src/bench/report/files.ts'
import type { SignReport } from '../../src/bench/report/sign-report.ts'
import { BenchSite } from '../support/bench-site.ts'
import { checkout, nodeUnderTest } from '../support/npm-start.ts'
import { runTool } from '../support/tools.ts'

const CHROMIUM = '/usr/bin/chromium'
const SIZES = [
  { name: 'phone', width: 360, height: 740 },
  { name: 'wide', width: 1600, height: 1000 },
] as const

let bench: BenchSite
let browser: Browser
let report: SignReport
let url: string

beforeAll(async () => {
  if (!existsSync(CHROMIUM)) throw new Error('Chromium is needed: apt-get install chromium')
  bench = new BenchSite()
  const html = bench.path('report.html')
  const json = bench.path('report.json')
  const how = ['--seconds', '0.4', '--warm-up', '0.1', '--sessions', '1,2,4']
  const schemes = ['--schemes', 'ecdsa_secp256r1_sha256,rsa_pss_rsae_sha256']
  const files = ['--html', html, '--json', json]
  const program = join(checkout, 'dist/cli/main.js')
  const args = ['bench', 'sign', '--config', bench.config, ...how, ...schemes, ...files]
  const outcome = await runTool(nodeUnderTest, [program, ...args], { timeoutMs: 100_000 })
  expect(outcome).toMatchObject({ status: 0, stderr: '' })
  report = readSignReport(json)
  url = pathToFileURL(html).href
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
}, 120_000)

afterAll(async () => {
  await browser?.close()
  bench?.[Symbol.dispose]()
})

test('it asks for nothing but itself, and the console stays empty', async () => {
  const page = await browser.newPage()
  const requests: string[] = []
  const complaints: string[] = []
  page.on('request', (request) => requests.push(request.url()))
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))

  await page.goto(url)
  await page.waitForLoadState('networkidle')

  expect(requests).toEqual([url])
  expect(complaints).toEqual([])
  await page.close()
})

test('each scheme has its plots: labelled axes with units, and a point for each step of each series', async () => {
  const page = await opened(SIZES[1])
  const schemes = [...new Set(report.series.map(({ scheme }) => scheme))]

  for (const [index, scheme] of schemes.entries()) {
    const series = report.series.filter((each) => each.scheme === scheme)
    const steps = series.reduce((sum, each) => sum + each.steps.length, 0)
    const throughput = page.locator(`#throughput-${index}`)
    expect(await throughput.locator('.x-label').textContent()).toBe('concurrent sessions of each HSM')
    expect(await throughput.locator('.y-label').textContent()).toBe('signatures per second (1/s)')
    expect(await throughput.locator('g.line .point').count()).toBe(steps)
    expect(await throughput.locator('.knee').count()).toBe(series.length)
    for (const [line, each] of series.entries()) {
      const latency = page.locator(`#latency-${index}-${line}`)
      expect(await latency.locator('.x-label').textContent()).toBe('concurrent sessions of each HSM')
      expect(await latency.locator('.y-label').textContent()).toBe('latency (ms), logarithmic')
      // p50, p90 and p99.
      expect(await latency.locator('g.line').count()).toBe(3)
      expect(await latency.locator('g.line .point').count()).toBe(3 * each.steps.length)
    }
  }
  await page.close()
})

test('it says on what it was measured, and which sessions to configure', async () => {
  const page = await opened(SIZES[1])
  const text = (await page.locator('main').textContent()) ?? ''

  for (const { name, module, token } of report.hsms) {
    expect(text).toContain(name)
    expect(text).toContain(module)
    expect(text).toContain(token?.serial)
  }
  expect(text).toContain(report.machine.processor)
  expect(text).toMatch(/in-flight\s*limit/)
  expect(text).not.toMatch(/NaN|undefined|Infinity/)
  for (const pin of bench.pins) expect(await page.content()).not.toContain(pin)
  await page.close()
})

test.each(SIZES)('on a $name screen nothing is wider than it, and all text can be read', async (size) => {
  const page = await opened(size)

  const { scrollWidth, smallest, outside } = await page.evaluate<Layout>(LAYOUT)

  expect(scrollWidth).toBeLessThanOrEqual(size.width)
  expect(smallest).toBeGreaterThanOrEqual(9)
  expect(outside).toBe(0)
  await page.close()
})

test.each(['light', 'dark'] as const)(
  'in %s colours text stands out from its ground',
  async (colorScheme) => {
    const page = await browser.newPage({ colorScheme, viewport: SIZES[1] })
    await page.goto(url)

    const contrasts = await page.evaluate<Contrasts>(CONTRASTS)

    // WCAG 2.2, 1.4.3 for text and 1.4.11 for graphics.
    expect(contrasts.text).toBeGreaterThanOrEqual(4.5)
    expect(contrasts.lines).toBeGreaterThanOrEqual(3)
    await page.close()
  },
)

test('the steps of a series can be unfolded, and a picture of it all is not empty', async () => {
  const page = await opened(SIZES[1])
  const details = page.locator('details').first()
  await details.locator('summary').click()

  expect(await details.locator('tbody tr').count()).toBe(report.series[0]?.steps.length)
  const picture = bench.path('report.png')
  await page.screenshot({ path: picture, fullPage: true })
  expect(statSync(picture).size).toBeGreaterThan(50_000)
  await page.close()
})

async function opened(viewport: (typeof SIZES)[number]): Promise<Page> {
  const page = await browser.newPage({ viewport })
  await page.goto(url)
  return page
}

interface Layout {
  readonly scrollWidth: number
  /** Height of the smallest text, CSS pixels as they are on the screen. */
  readonly smallest: number
  /** Labels that stick out of their plot, and would be cut off. */
  readonly outside: number
}

/** Smallest ratios of luminance, WCAG 2.2. */
interface Contrasts {
  readonly text: number
  readonly lines: number
}

// What runs in the page is text here: the tests are compiled for Node, which has no DOM.
const LAYOUT = `(() => {
  const all = (selector) => [...document.querySelectorAll(selector)]
  const height = (element) => {
    const svg = element.closest('svg')
    const size = Number.parseFloat(getComputedStyle(element).fontSize)
    return svg === null ? size : (size * svg.getBoundingClientRect().width) / svg.viewBox.baseVal.width
  }
  const sticksOut = (label) => {
    const frame = label.closest('svg').getBoundingClientRect()
    const box = label.getBoundingClientRect()
    return box.left < frame.left - 1 || box.right > frame.right + 1
  }
  return {
    scrollWidth: document.documentElement.scrollWidth,
    smallest: Math.min(...all('svg text, p, td, th, dd, dt, li, summary, h1, h2, h3').map(height)),
    outside: all('.plot > svg text').filter(sticksOut).length,
  }
})()`
const CONTRASTS = `(() => {
  const all = (selector) => [...document.querySelectorAll(selector)]
  const luminance = (color) => {
    const [r, g, b] = color.match(/[0-9]+/g).map((value) => {
      const part = Number(value) / 255
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ratio = (a, b) => {
    const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x)
    return (light + 0.05) / (dark + 0.05)
  }
  const paper = getComputedStyle(document.body).backgroundColor
  const panel = getComputedStyle(document.querySelector('.plot')).backgroundColor
  const inks = all('h1, .soft, td, dt').map((element) => ratio(getComputedStyle(element).color, paper))
  const ticks = all('svg .tick').map((element) => ratio(getComputedStyle(element).fill, panel))
  const lines = all('svg polyline').map((element) => ratio(getComputedStyle(element).stroke, panel))
  return { text: Math.min(...inks, ...ticks), lines: Math.min(...lines) }
})()`

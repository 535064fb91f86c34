/** The report of `bench sign` as one HTML file that needs nothing else: for who was not there when it was measured. */

import { machineText } from '../machine.ts'
import { formatMs, formatNumber, formatSeconds, formatShare, sessionsText } from '../numbers.ts'
import { adviceFor, PLANNED_UTILISATION } from '../sign/advice.ts'
import { html, type Markup, NOTHING } from './markup.ts'
import { costPlot, latencyPlot, pathText, throughputPlot } from './series-plots.ts'
import { membersText, type Series, type SignReport, type Step } from './sign-report.ts'
import { STYLE } from './style.ts'
import { troubleText } from './text.ts'

/** @param options.resumed share of handshakes that are resumed, for the advice. */
export function signReportHtml(report: SignReport, options: { readonly resumed: number }): string {
  const day = report.startedAt.slice(0, 10)
  const names = report.hsms.map(({ name }) => name).join(', ')
  // The policy makes sure of it: this page loads nothing and runs nothing.
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>Signing speed of ${names}, ${day}</title>
${STYLE}
</head>
<body>
<main>
<header>
<p class="kicker">sealgate bench sign</p>
<h1>How fast ${names} ${report.hsms.length > 1 ? 'sign' : 'signs'}</h1>
<p class="soft">${report.startedAt.slice(0, 16).replace('T', ' ')} UTC, in ${formatSeconds((Date.parse(report.endedAt) - Date.parse(report.startedAt)) / 1000)} · Sealgate ${report.sealgate}</p>
${cards(report)}
${warnings(report)}
</header>
${adviceSection(report, options.resumed)}
${schemeSections(report)}
${factsSection(report)}
</main>
</body>
</html>
`.text
}

/** The best of each scheme, in large figures. */
function cards({ series }: SignReport): Markup {
  const best = bySchemes(series).flatMap(({ scheme, series: all }) => {
    const pooled = all.filter(({ path, knee }) => path === 'pool' && knee !== null)
    const [first] = (pooled.length > 0 ? pooled : all)
      .filter(({ knee }) => knee !== null)
      .sort((a, b) => (b.knee?.rate ?? 0) - (a.knee?.rate ?? 0))
    if (first?.knee == null) return []
    const p99 = first.steps.find(({ sessions }) => sessions === first.knee?.sessions)?.latencyMs.p99 ?? 0
    const each = first.members.length > 1 ? ' each' : ''
    return [
      html`<li><div><span class="value">${formatNumber(first.knee.rate)}</span> <span class="unit">signatures/s</span></div>
<div class="what"><code>${scheme}</code><br>${membersText(first)}, ${sessionsText(first.knee.sessions)}${each}, p99 ${formatMs(p99)}</div></li>`,
    ]
  })
  return best.length === 0 ? NOTHING : html`<ul class="cards">${best}</ul>`
}

function warnings({ complete, notes }: SignReport): Markup {
  if (complete && notes.length === 0) return NOTHING
  const lines = [...(complete ? [] : ['Not everything that was asked for was measured.']), ...notes]
  return html`<div class="warn" role="note"><ul>${lines.map((line) => html`<li>${line}</li>`)}</ul></div>`
}

function adviceSection(report: SignReport, resumed: number): Markup {
  const rows = adviceFor(report, resumed).map(
    ({ series, sessions, inFlightLimit, fullAtKnee, fullPlanned, handshakesPlanned }) => html`<tr>
<td><code>${series.scheme}</code></td><td class="text">${membersText(series)}</td><td>${inFlightLimit}</td><td><strong>${sessions}</strong></td>
<td>${formatNumber(fullAtKnee)}</td><td>${formatNumber(fullPlanned)}</td><td>${formatNumber(handshakesPlanned)}</td></tr>`,
  )
  if (rows.length === 0) return NOTHING
  return html`<section>
<h2>What to configure, and what it carries</h2>
<p class="soft">A full handshake takes one signature, a resumed one takes none. Planning stops at ${formatShare(PLANNED_UTILISATION)} of the knee: nearer to it, bursts wait.</p>
<div class="scroll"><table>
<thead><tr><th>scheme</th><th class="text">HSM</th><th>in-flight<br>limit</th><th><code>sessions</code><br>of each HSM</th><th>full handshakes/s<br>at the knee</th><th>full handshakes/s<br>to plan with</th><th>all handshakes/s,<br>${formatShare(resumed)} resumed</th></tr></thead>
<tbody>${rows}</tbody>
</table></div>
</section>`
}

function schemeSections({ series }: SignReport): readonly Markup[] {
  return bySchemes(series).map(({ scheme, key, series: all }, index) => {
    const measured = all.filter(({ steps }) => steps.some(({ signatures }) => signatures > 0))
    const plots =
      measured.length === 0
        ? html`<p>Nothing was measured.</p>`
        : html`<div class="plots">
${throughputPlot(measured, `throughput-${index}`)}
${costPlot(measured, `cost-${index}`)}
${measured.map((each, line) => latencyPlot(each, `latency-${index}-${line}`))}
</div>`
    return html`<section class="scheme">
<h2><code>${scheme}</code></h2>
<p class="soft">Key <code>${key}</code>. A ring marks the knee: the fewest sessions with 95 % of the best rate. Bars are the standard error of the rate.</p>
${plots}
${all.map((each) => stepsTable(each))}
</section>`
  })
}

function stepsTable(series: Series): Markup {
  const { knee, stop, steps } = series
  const rows = steps.map(
    (step) => html`<tr${step.sessions === knee?.sessions ? html` class="knee-row"` : NOTHING}>
<td>${step.sessions}</td><td>${formatNumber(step.rate)}</td><td>${step.rate === 0 ? '' : `± ${formatShare(step.rateError / step.rate)}`}</td>
${PERCENTILES.map((name) => html`<td>${formatMs(step.latencyMs[name])}</td>`)}
<td>${step.inFlightLimit ?? '–'}</td><td class="text">${remarks(step)}</td></tr>`,
  )
  const found =
    knee === null
      ? 'no knee'
      : `knee at ${sessionsText(knee.sessions)}, ${formatNumber(knee.rate)} signatures/s`
  return html`<details>
<summary><strong>${pathText(series)}</strong>: ${found}. Stopped: ${stop.text}.</summary>
<div class="scroll"><table>
<thead><tr><th>sessions</th><th>signatures/s</th><th>error</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>max</th><th>in flight ≤</th><th></th></tr></thead>
<tbody>${rows}</tbody>
</table></div>
</details>`
}

function remarks(step: Step): string {
  return troubleText(step)
}

function factsSection({ machine, method, hsms }: SignReport): Markup {
  const facts = hsms.map(
    ({ name, module, token, sessionLimit }) =>
      html`<dt>${name}</dt><dd>${token === null ? 'no token' : `token “${token.label}”, serial ${token.serial}`}; <code>${module}</code>; ${sessionLimit === null ? 'no session limit was met' : `${sessionLimit} sessions at most`}</dd>`,
  )
  const { secondsPerStep, warmUpSeconds, verify, hedge, timeoutMs } = method
  return html`<section>
<h2>Machine, modules, method</h2>
<dl><dt>machine</dt><dd>${machineText(machine)}</dd>${facts}</dl>
<p>Each step: ${warmUpSeconds} s of warm-up, then ${secondsPerStep} s in which every session signs, and asks again as soon as it has its answer (a closed loop). Latency is what the caller waits. Signatures that end in the window count. The sessions double until two steps in a row bring less than 5 % and answers take longer, or the token gives no more.</p>
<p><strong>Through the pool</strong> is how the proxy signs: Sealgate’s signing pool in one process, the PKCS#11 module in another, frames between them; verification <code>${verify}</code>, hedging <code>${hedge}</code>, deadline ${formatMs(timeoutMs)}. How many signatures it lets into an HSM at once it decides by itself; the last column of figures says how many. <strong>Raw</strong> is C_SignInit and C_Sign alone, one thread and one session each, as <code>bench/raw-sign.c</code> does it. Messages have the shape of TLS handshakes.</p>
</section>`
}

function bySchemes(
  series: readonly Series[],
): readonly { readonly scheme: string; readonly key: string; readonly series: readonly Series[] }[] {
  const groups = new Map<string, Series[]>()
  for (const each of series) {
    const name = `${each.scheme} ${each.key}`
    groups.set(name, [...(groups.get(name) ?? []), each])
  }
  return [...groups.values()].flatMap((all) => {
    const [first] = all
    return first === undefined ? [] : [{ scheme: first.scheme, key: first.key, series: all }]
  })
}

const PERCENTILES = ['mean', 'p50', 'p90', 'p99', 'max'] as const

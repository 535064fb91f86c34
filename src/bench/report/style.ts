/** How a report looks: system fonts, colours that the colour-blind can tell apart (Okabe, Ito 2008), light and dark. */

import { Markup } from './markup.ts'

export const STYLE = new Markup(`<style>
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #16202c; --soft: #566273; --rule: #dde2e8; --accent: #0b5cad;
  --warn-ink: #7a4100; --warn-paper: #fff4e0;
  --c0: #0072b2; --c1: #d55e00; --c2: #008060; --c3: #b0518c; --c4: #9a6b00; --c5: #4a5b6c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #10151c; --panel: #182029; --ink: #e6ebf1; --soft: #9fadbd; --rule: #2b3643; --accent: #6cb6ff;
    --warn-ink: #ffd08a; --warn-paper: #3a2a10;
    --c0: #56b4e9; --c1: #ff9a52; --c2: #3ecfa0; --c3: #e59ac8; --c4: #e6c04a; --c5: #a9b8c6;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
header { border-bottom: 1px solid var(--rule); padding-bottom: 20px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 44px 0 4px; }
h3 { font-size: 1rem; margin: 0; }
p { margin: 8px 0; max-width: 72ch; }
.soft { color: var(--soft); }
.kicker { color: var(--accent); font-weight: 600; font-size: 0.875rem; margin: 0 0 4px; }
code, .figure { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.92em; overflow-wrap: anywhere; }
.warn { color: var(--warn-ink); background: var(--warn-paper); border-radius: 8px; padding: 10px 14px; margin: 16px 0 0; }
.warn ul { margin: 0; padding-left: 18px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 14px; margin: 24px 0 0; padding: 0; list-style: none; }
.cards li { background: var(--panel); border: 1px solid var(--rule); border-radius: 12px; padding: 14px 18px; }
.cards .value { font-size: 1.9rem; line-height: 1.15; font-weight: 650; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.cards .unit { color: var(--soft); font-size: 0.9rem; }
.cards .what { font-size: 0.9rem; margin-top: 8px; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 18px; margin: 18px 0; }
.plot { margin: 0; background: var(--panel); border: 1px solid var(--rule); border-radius: 12px; padding: 16px 16px 10px; min-width: 0; }
.plot > svg { display: block; width: 100%; max-width: 600px; height: auto; margin: 6px auto 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; list-style: none; margin: 6px 0 0; padding: 0; font-size: 0.875rem; }
.legend li { display: flex; align-items: center; gap: 6px; color: var(--ink); }
.legend svg { width: 26px; height: 10px; flex: none; }
svg text { fill: var(--ink); font-family: inherit; }
svg .tick { font-size: 13px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .axis-label { font-size: 13.5px; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .mark { stroke: var(--soft); stroke-width: 1; }
.colour-0 { --colour: var(--c0); } .colour-1 { --colour: var(--c1); } .colour-2 { --colour: var(--c2); }
.colour-3 { --colour: var(--c3); } .colour-4 { --colour: var(--c4); } .colour-5 { --colour: var(--c5); }
svg polyline { fill: none; stroke: var(--colour); stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.dashed polyline, .dashed line:not(.error) { stroke-dasharray: 5 5; }
.legend line { stroke: var(--colour); stroke-width: 2.2; }
svg .error { stroke: var(--colour); stroke-width: 1.4; opacity: 0.7; }
svg .point { fill: var(--panel); stroke: var(--colour); stroke-width: 2.2; }
svg .solid .point, .legend .solid .point { fill: var(--colour); }
svg .knee { fill: none; stroke: var(--ink); stroke-width: 1.6; }
.scroll { overflow-x: auto; margin: 14px 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
td.text { white-space: normal; min-width: 12ch; }
tr.knee-row td { font-weight: 650; }
details { border: 1px solid var(--rule); border-radius: 10px; padding: 8px 14px; margin: 10px 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(90px, max-content) 1fr; gap: 4px 18px; margin: 12px 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 560px) {
  main { padding: 20px 14px 48px; }
  h1 { font-size: 1.4rem; }
  .plot { padding: 12px 8px 8px; }
  svg .tick { font-size: 16px; }
  svg .axis-label { font-size: 17px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; }
}
@media print { details { break-inside: avoid; } .plot { break-inside: avoid; } }
</style>`)

"""How the page looks: light and dark, on a phone and on a desk."""

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --line: #e1e5ea; --ink: #1a212b;
  --soft: #5c6775; --ok: #2f6fd0; --bad: #d33a2c; --open: #a3adb9; --idle: #edf0f4; --link: #1f5fbf;
  --ok-back: #e6effb; --bad-back: #fdeae8; --open-back: #eef1f4; --ok-ink: #1c4f9c; --bad-ink: #a82418;
  --open-ink: #4b5663; }
@media (prefers-color-scheme: dark) { :root { --page: #11151b; --card: #191f28; --line: #2b333f;
  --ink: #e6eaf0; --soft: #97a3b3; --ok: #5b9bf3; --bad: #ff6b5c; --open: #66717f; --idle: #232b36;
  --link: #82b4ff; --ok-back: #1b2e4b; --bad-back: #46201d; --open-back: #2a323d; --ok-ink: #a9cbff;
  --bad-ink: #ffb4ab; --open-ink: #c0c9d4; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  -webkit-text-size-adjust: 100%; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 48px; }
header { margin-bottom: 20px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 16px; margin: 0 0 14px; }
h2 small { font-weight: normal; color: var(--soft); font-size: 13px; margin-left: 6px; }
p { margin: 0 0 12px; }
.soft, header p, footer { color: var(--soft); font-size: 13px; }
header p { margin: 0; }
footer { margin-top: 24px; }
a { color: var(--link); text-decoration: none; white-space: nowrap; }
a:hover, a:focus { text-decoration: underline; }
code { font: 12.5px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin-bottom: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 1px; padding: 0;
  overflow: hidden; background: var(--line); }
.tiles div { background: var(--card); padding: 14px 8px 14px 16px; }
.tiles b { display: block; font-size: 19px; white-space: nowrap; line-height: 1.3; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 13px; }
.tiles .bad b { color: var(--bad); }
.share { display: flex; height: 10px; border-radius: 5px; overflow: hidden; background: var(--idle);
  margin: 0 0 16px; gap: 2px; }
.share i { min-width: 3px; }
.share .ok, .key .ok { background: var(--ok); } .share .bad, .key .bad { background: var(--bad); }
.share .open, .key .open { background: var(--open); }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--soft); margin: 0 0 12px; }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
.key .idle { background: var(--idle); border: 1px solid var(--line); }
svg.plot { display: block; width: 100%; }
svg .ok { fill: var(--ok); } svg .bad { fill: var(--bad); } svg .idle { fill: var(--idle); }
svg .l1 { opacity: .22; } svg .l2 { opacity: .42; } svg .l3 { opacity: .62; } svg .l4 { opacity: .82; }
svg .grid { stroke: var(--card); stroke-width: 1; vector-effect: non-scaling-stroke; fill: none; opacity: .8; }
svg .axis { stroke: var(--line); stroke-width: 2; vector-effect: non-scaling-stroke; fill: none; }
.lanes { display: grid; grid-template-columns: minmax(0, 132px) minmax(0, 1fr); gap: 10px; }
.labels { font-size: 11px; color: var(--soft); }
.labels div { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.ticks { display: flex; justify-content: space-between; font-size: 11px; color: var(--soft); padding-top: 4px;
  font-variant-numeric: tabular-nums; }
.figures { display: flex; flex-wrap: wrap; gap: 4px 26px; color: var(--soft); }
.figures b { color: var(--ink); font-variant-numeric: tabular-nums; }
table { width: 100%; border-collapse: collapse; font-size: 14px; }
th { text-align: left; font-weight: 500; font-size: 12px; color: var(--soft); padding: 0 12px 6px 0; }
td { vertical-align: top; border-top: 1px solid var(--line); padding: 8px 12px 8px 0; }
th:last-child, td:last-child { padding-right: 0; }
.name { font-size: 13px; color: var(--soft); white-space: nowrap; }
.num { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.tag { display: inline-block; padding: 1px 8px; border-radius: 10px; font-size: 12px; white-space: nowrap; }
.tag.ok { background: var(--ok-back); color: var(--ok-ink); }
.tag.bad { background: var(--bad-back); color: var(--bad-ink); }
.tag.open { background: var(--open-back); color: var(--open-ink); }
.how-many { background: var(--bad-back); color: var(--bad-ink); border-radius: 10px; padding: 1px 9px;
  font-size: 13px; font-variant-numeric: tabular-nums; }
.controls { display: flex; flex-wrap: wrap; gap: 10px; margin-bottom: 12px; align-items: center; }
input, select { font: inherit; color: var(--ink); background: var(--page); border: 1px solid var(--line);
  border-radius: 7px; padding: 7px 11px; }
input { flex: 1 1 220px; min-width: 0; }
input:focus, select:focus { outline: 2px solid var(--ok); outline-offset: 0; }
@media (max-width: 680px) {
  main { padding: 18px 12px 32px; } section { padding: 14px; } .tiles { padding: 0; }
  h1 { font-size: 21px; } .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tiles div { padding: 11px 14px; } .tiles b { font-size: 18px; }
  .tiles div:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .lanes { grid-template-columns: minmax(0, 84px) minmax(0, 1fr); gap: 8px; }
  .ticks span:nth-child(even) { display: none; }
  thead { display: none; } tr { display: block; border-top: 1px solid var(--line); padding: 8px 0; }
  tr:first-child { border-top: 0; }
  td { display: grid; grid-template-columns: 74px minmax(0, 1fr); border: 0; padding: 2px 0; gap: 8px; }
  td::before { content: attr(data-label); color: var(--soft); font-size: 12px; line-height: 22px; }
  td > * { grid-column: 2; justify-self: start; } .name { font-size: 13px; color: var(--soft); white-space: nowrap; }
.num { text-align: left; }
  td a { display: inline-block; padding-right: 10px; }
}
@media print { body { background: none; } section { break-inside: avoid; } #search { display: none; } }
"""

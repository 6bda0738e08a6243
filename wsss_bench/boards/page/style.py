"""Style of the page."""

# ruff: noqa: E501 - another language inside a string

from __future__ import annotations

CSS = """
:root{--bg:#fbfbfa;--card:#fff;--ink:#1c2024;--soft:#60646c;--line:#e4e5e9;--accent:#0b6e99;--tint:#eef5f8;--up:#2b8a5b;
--down:#c2413b;--hatch:#f4f2ec;--shadow:0 1px 2px rgba(20,25,35,.05),0 6px 20px rgba(20,25,35,.05)}
@media(prefers-color-scheme:dark){:root{--bg:#111315;--card:#191c1f;--ink:#e8eaed;--soft:#9aa0a8;--line:#2b2f34;--accent:#5fb8dc;
--tint:#1b2a32;--up:#52b788;--down:#e5706a;--hatch:#20211f;--shadow:none}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1240px;margin:0 auto;padding:0 24px 80px}
header.top{padding:44px 0 18px}
h1{font-size:32px;line-height:1.15;letter-spacing:-.02em;margin:0 0 8px;font-weight:680}
h2{font-size:19px;letter-spacing:-.01em;margin:0 0 4px;font-weight:640}
p.lead,p.sub{color:var(--soft);margin:0;max-width:88ch}
p.sub{font-size:13.5px;margin-bottom:14px}
nav{display:flex;gap:18px;flex-wrap:wrap;margin-top:16px;font-size:14px}
nav a{color:var(--accent);text-decoration:none}nav a:hover{text-decoration:underline}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;box-shadow:var(--shadow);padding:22px 24px;margin:20px 0}
.chips{display:flex;flex-wrap:wrap;gap:10px;align-items:end;margin:6px 0 14px}
.chips label{display:flex;flex-direction:column;font-size:11.5px;color:var(--soft);gap:3px}
.chips label.tick{flex-direction:row;align-items:center;font-size:13.5px;color:var(--ink);gap:6px;padding-bottom:6px}
select,input[type=search]{font:inherit;font-size:13.5px;color:var(--ink);background:var(--bg);border:1px solid var(--line);border-radius:8px;
padding:5px 8px;max-width:220px}
button{font:inherit;font-size:13px;color:var(--ink);background:var(--bg);border:1px solid var(--line);border-radius:8px;padding:5px 11px;
cursor:pointer}
button[aria-pressed=true]{background:var(--tint);border-color:var(--accent);color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.scroll{overflow-x:auto;margin:0 -8px;padding:0 8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
#board th{font-size:12px;font-weight:600;color:var(--soft);text-align:left;white-space:nowrap;border-bottom:1px solid var(--line);padding:6px 10px;
vertical-align:bottom}
#board th button{all:unset;cursor:pointer;white-space:nowrap}#board th button:hover{color:var(--accent)}
#board th[aria-sort] button{color:var(--accent)}
#board td{border-bottom:1px solid var(--line);padding:8px 10px;vertical-align:middle;font-size:14px;white-space:nowrap}
#board td.text{font-size:13px;color:var(--soft);max-width:190px;white-space:normal}
#board th.num,#board td.num{text-align:right}
#board th:first-child,#board td:first-child{position:sticky;left:0;background:var(--card);z-index:1}
#board tbody tr:hover td:first-child{background:var(--tint)}
#same{margin:12px 0 0}
#board tbody tr:hover{background:var(--tint)}
#board .lead-score{font-weight:650}
.method{font-weight:620}.method small{display:block;font-weight:400;color:var(--soft);font-size:12px}
.dot{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:8px;vertical-align:baseline}
.badge{font-size:11px;border:1px solid var(--line);border-radius:99px;padding:1px 8px;color:var(--soft);margin-left:6px;font-weight:400}
.badge.warn{color:var(--down);border-color:currentColor}
.tie{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12.5px;color:var(--soft)}
#elsewhere h3{font-size:15px;margin:26px 0 2px}
.tall{max-height:430px;overflow-y:auto;border:1px solid var(--line);border-radius:10px;padding:0;margin:0}
.reported th{position:sticky;top:0;background:var(--card);font-size:12px;font-weight:600;color:var(--soft);text-align:left;padding:7px 10px;z-index:1}
.reported td{padding:4px 10px;font-size:13px;font-style:italic;color:var(--soft);border-top:1px solid var(--line)}
.reported .num{text-align:right;max-width:130px}.reported td:first-child{min-width:150px}
.reported td.text{max-width:180px}.reported .badge{font-style:normal}
.reported tbody tr{background:repeating-linear-gradient(135deg,transparent 0 7px,var(--hatch) 7px 14px)}
.heat{border-collapse:separate;border-spacing:2px;width:auto;min-width:340px}
.heat th{font-size:12.5px;font-weight:500;text-align:left;padding:2px 8px 2px 0;white-space:nowrap}
.heat thead th{vertical-align:bottom;text-align:center;padding:0 4px 6px;color:var(--soft);max-width:110px;white-space:normal}
.heat td{width:84px;height:27px;text-align:center;font-size:12.5px;border-radius:4px}
.heat tbody th button{all:unset;cursor:pointer}.heat tbody th button:hover{color:var(--accent);text-decoration:underline}
.heat tr.on th{color:var(--accent);font-weight:650}
.heat tr.mean td,.heat tr.mean th{font-weight:650}
.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:8px;border:1px solid rgba(128,128,128,.4);vertical-align:-1px}
.two{display:grid;grid-template-columns:minmax(0,auto) minmax(300px,1fr);gap:34px;align-items:start}
.chart{display:grid;grid-template-columns:minmax(0,1fr) 250px;gap:24px;align-items:start}
svg text{fill:var(--soft);font-size:11.5px;font-family:inherit}
svg .axis{stroke:var(--line)}svg .label{fill:var(--ink)}
.readout{font-size:13.5px}.readout div{display:flex;justify-content:space-between;gap:10px;padding:4px 0;border-bottom:1px solid var(--line)}
.readout div.off{opacity:.35}.readout b{font-weight:600;white-space:nowrap}
.falls{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,290px));gap:20px 26px}
figure{margin:0}figcaption{font-size:13px;color:var(--soft);margin-bottom:5px}
.case{border-top:1px solid var(--line);padding:16px 0;display:flex;gap:26px;align-items:flex-start}
.case:first-child{border-top:0}
.truth,.maps{display:flex;gap:12px}.maps{overflow-x:auto;padding-bottom:6px}
.maps>div,.truth>div{flex:none;width:128px}.case h4{font-size:12.5px;line-height:1.3;font-weight:600;margin:0 0 6px;min-height:2.6em;display:flex;
align-items:flex-end}.case h4 .dot{flex:none;margin-bottom:4px}
.case img{display:block;width:128px;height:auto;border-radius:6px;image-rendering:pixelated;margin-bottom:3px;background:var(--line)}
.case small{display:block;color:var(--soft);font-size:11.5px;margin-bottom:7px}
.diff{display:grid;grid-template-columns:minmax(90px,auto) 1fr;gap:6px 14px;font-size:12.5px;align-items:center;margin-top:10px}
.bar{height:9px;border-radius:3px;margin:2px 0}
.bars div{display:flex;align-items:center;gap:6px}.bars span{color:var(--soft);font-size:11.5px}
.empty{color:var(--soft);font-size:14px}
footer{color:var(--soft);font-size:13px}footer li{margin:3px 0}
@media(max-width:820px){.two,.chart{grid-template-columns:1fr}.case{flex-direction:column}main{padding:0 14px 60px}}
@media print{section{break-inside:avoid;box-shadow:none}.chips,nav{display:none}}
"""

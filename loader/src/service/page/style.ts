/** The page's only style sheet; colours are chosen for a contrast of at least 4.5 in light and dark. */
export const pageStyle = `
:root{color-scheme:light dark;--back:#f4f6f8;--card:#fff;--line:#d5dae0;--text:#1b1f24;--muted:#57606a;--accent:#0a58ca;--onaccent:#fff;--good:#17692c;--bad:#b4232a;--warn:#fff4d6;--warntext:#5c4300}
@media (prefers-color-scheme:dark){:root{--back:#0e1216;--card:#171c22;--line:#333b45;--text:#e6e9ed;--muted:#a0aab4;--accent:#7ab7ff;--onaccent:#0b1a2b;--good:#5cc977;--bad:#ff8a80;--warn:#3a2f10;--warntext:#ffdf8a}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
header,main,footer{max-width:68rem;margin:0 auto;padding:0 1rem}
header>div:last-child{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:center}
header{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;justify-content:space-between;padding-top:1rem;padding-bottom:.5rem}
h1{font-size:1.25rem;margin:0}h2{font-size:1.05rem;margin:0 0 .5rem}h3{font-size:1rem;margin:0}
p{margin:.25rem 0}ul{list-style:none;margin:0;padding:0}
section{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:0 0 1rem}
section:empty,#alerts,#tables:empty{background:none;border:0;padding:0;margin:0}
.muted,.none,.small,footer{color:var(--muted)}.small{font-size:.875rem}.bad{color:var(--bad);font-weight:600}
.hidden{position:absolute;width:1px;height:1px;margin:-1px;padding:0;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.skip{position:absolute;left:-100rem}.skip:focus{left:1rem;top:1rem;background:var(--card);padding:.5rem 1rem;z-index:1}
.alerts{margin:0 0 1rem}.alerts li,.notice{background:var(--warn);color:var(--warntext);border-radius:.5rem;padding:.6rem 1rem;margin:0 0 .5rem}
.notice:empty{display:none}.notice{margin-bottom:1rem}
.line{display:flex;flex-wrap:wrap;gap:.25rem .75rem;align-items:center;justify-content:space-between}
.buttons,.actions{text-align:right;white-space:nowrap}.line button+button{margin-left:.4rem}.line>button,.buttons button:first-child{margin-left:0}
.now li+li,.failures li+li{border-top:1px solid var(--line);margin-top:.75rem;padding-top:.75rem}
progress{width:100%;height:.75rem;accent-color:var(--accent);margin-top:.4rem}
.state{white-space:nowrap;font-weight:600}.state.done{color:var(--good)}.state.failed{color:var(--bad)}.state.running{color:var(--accent)}.state.queued,.state.cancelled{color:var(--muted)}
table{width:100%;border-collapse:collapse}
th{text-align:left;font-weight:600;font-size:.875rem;color:var(--muted);padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--line)}
td{padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:middle}
tr:last-child td{border-bottom:0}td:last-child,th:last-child{padding-right:0}
.number{font-variant-numeric:tabular-nums}
code{font:.875em ui-monospace,monospace}time{white-space:nowrap}
button{font:inherit;font-size:.875rem;min-height:2rem;padding:.2rem .75rem;border:1px solid var(--accent);border-radius:.4rem;background:none;color:var(--accent);cursor:pointer;margin:0 0 .25rem .25rem}
button.main{background:var(--accent);color:var(--onaccent)}button:disabled{opacity:.55;cursor:default}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.may-view,.may-operate,.may-trigger,.signed-in,.scripted{display:none}
.scripts .scripted{display:inline-block}.viewer .may-view,.operator .may-operate,.trigger .may-trigger{display:inline-block}
.known .signed-in{display:inline-block}.known .signed-out{display:none}
figure{margin:0 0 1rem}.chart{display:block;width:100%;height:auto;max-height:9rem}
figcaption{display:flex;justify-content:space-between;gap:1rem;color:var(--muted);font-size:.875rem;text-align:center}
.axis{stroke:var(--line)}.bar rect{fill:var(--good)}.bar.failed rect{fill:var(--bad)}.bar .cross{stroke:var(--bad);stroke-width:1.6;fill:none}
.bar.running rect{fill:none;stroke:var(--accent);stroke-width:1.2;stroke-dasharray:2 1.5}.bar.cancelled rect{fill:none;stroke:var(--muted);stroke-width:1.2}
dialog{border:1px solid var(--line);border-radius:.6rem;background:var(--card);color:var(--text);padding:1.25rem;width:min(34rem,calc(100vw - 2rem));max-height:85vh;overflow:auto}
dialog::backdrop{background:#000a}dialog p{margin:.5rem 0}
label{display:block;margin:.6rem 0 .2rem;font-weight:600}
input:not([type=checkbox]){font:inherit;width:100%;padding:.45rem .6rem;border:1px solid var(--muted);border-radius:.4rem;background:var(--back);color:var(--text)}
.updates{display:inline-flex;gap:.4rem;align-items:center;margin:0;font-weight:400;font-size:.875rem}
.ends{display:flex;gap:.5rem;justify-content:flex-end;margin-top:1rem}
pre{overflow:auto;max-height:16rem;background:var(--back);border:1px solid var(--line);border-radius:.4rem;padding:.6rem;font:.8rem/1.4 ui-monospace,monospace;white-space:pre-wrap}
footer{padding-bottom:2rem;display:flex;flex-wrap:wrap;gap:.25rem 1rem;font-size:.875rem}a{color:var(--accent)}
@media (max-width:44rem){
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,td{display:block}
tr{display:grid;grid-template-columns:1fr auto;border-bottom:1px solid var(--line);padding:.6rem 0}td{grid-column:1/-1}td:first-child{grid-column:1}td.actions{grid-column:2;grid-row:1}tr:last-child{border-bottom:0}
td{border:0;padding:.1rem 0}td[data-label]{display:grid;grid-template-columns:7rem 1fr;gap:.5rem}
td[data-label]::before{content:attr(data-label);color:var(--muted);font-size:.875rem}
td.actions:empty{display:none}.actions{text-align:left}.actions button{margin-left:0;margin-right:.25rem;min-height:2.5rem}
button{min-height:2.5rem}figure{overflow:hidden}.chart{width:200%;margin-left:-100%;max-height:none}
.tasks td:has(.none:only-child){display:none}td[data-label]:first-child::before{content:none}td[data-label]:first-child{grid-template-columns:1fr}
.runs tr{display:flex;flex-wrap:wrap;gap:0 .75rem;align-items:baseline;padding:.6rem 0}.runs tr:nth-child(n+11){display:none}
.runs td[data-label]{display:block}.runs td[data-label]::before{content:none}.runs td:first-child::before{content:'#'!important}.runs td:nth-child(3){order:-1}.runs td:nth-child(5)::before{content:'took '!important}.runs td>div{display:inline}
.runs .actions{flex-basis:100%}.runs .actions button{margin-top:.25rem}
figcaption span:nth-child(2){order:3;flex-basis:100%;text-align:left}figcaption{flex-wrap:wrap}
}
@media (forced-colors:active){.bar rect{fill:CanvasText}.bar.failed rect{fill:none;stroke:CanvasText}}
`.trim();

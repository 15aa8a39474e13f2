"""Status as one page of HTML that needs nothing else: no script, no style or image from elsewhere."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from backup.rules import ago
from backup.sizes import counted, size
from backup.status import Row, clean, findings
from inventories.files import replace

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --text: #1b1f23; --faint: #57606a; --line: #d0d7de; --box: #f6f8fa;
  --critical: #b00020; --warning: #7a4d00; --ok: #00662a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --text: #e6e8ea; --faint: #a0a8b0; --line: #3a4048; --box: #1e2227;
    --critical: #ff8f8f; --warning: #f2bd5a; --ok: #74d391;
  }
}
* { box-sizing: border-box }
body {
  background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif;
  margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 3rem;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 }
h2 { font-size: 1.125rem; margin: 2rem 0 .5rem }
p { margin: .25rem 0 }
.faint { color: var(--faint) }
.critical { color: var(--critical) } .warning { color: var(--warning) } .ok { color: var(--ok) }
.verdict { border-left: .375rem solid; font-size: 1.25rem; font-weight: 600; margin: 1rem 0 0; padding: .25rem .75rem }
ol { list-style: none; margin: 0; padding: 0 }
li { background: var(--box); border-left: .375rem solid; margin: .5rem 0; padding: .5rem .75rem; break-inside: avoid }
li p { color: var(--text); overflow-wrap: anywhere }
code { font: .9em ui-monospace, monospace; background: var(--ground); padding: .1em .25em; border-radius: .2em }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .375rem 1rem .375rem 0; text-align: left; vertical-align: top }
thead th { color: var(--faint); font-weight: 600 }
tbody th { font-weight: 600; overflow-wrap: anywhere }
tr { break-inside: avoid }
@media (max-width: 44rem) {
  thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; width: 1px }
  table, tbody, tr, th, td { display: block }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0 }
  th, td { border: 0; padding: .125rem 0 }
  td { display: grid; grid-template-columns: 9rem 1fr; gap: .5rem }
  td::before { color: var(--faint); content: attr(data-label) }
}
@media print {
  :root { --ground: #fff; --text: #000; --faint: #333; --box: #fff; --critical: #000; --warning: #000; --ok: #000 }
  body { font-size: 10pt; padding: 0 }
}
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="300">
<title>{{ verdict }} - {{ site }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>Backups of {{ site }}</h1>
<p class="faint">As of <time datetime="{{ now.isoformat() }}">{{ now.strftime("%Y-%m-%d %H:%M") }} UTC</time>. \
A control host makes it every hour: an older one there is a fault of its own.</p>
</header>
<main>
<p class="verdict {{ found[0].kind.severity if found else "ok" if rows else "warning" }}">{{ verdict }}</p>
{% if found %}
<h2>What is wrong, and what to do</h2>
<ol>
{% for one in found %}
<li class="{{ one.kind.severity }}">
<strong>{{ one.data_set|clean }}: {{ one.kind.word }}</strong> ({{ one.kind.severity }})
<p>{{ one.what|clean }}</p>
<p>{{ one.to_do|clean|code }}</p>
</li>
{% endfor %}
</ol>
{% endif %}
{% if rows %}
<h2 id="sets">Data sets</h2>
<table role="table" aria-labelledby="sets">
<thead role="rowgroup">
<tr role="row">{% for label in labels %}<th scope="col" role="columnheader">{{ label }}</th>{% endfor %}</tr>
</thead>
<tbody role="rowgroup">
{% for row in rows %}
<tr role="row">
<th scope="row" role="rowheader">{{ row.plan.data_set|clean }}</th>
{% for label, shown in cells(row) %}
<td role="cell" data-label="{{ label }}">{{ shown }}</td>
{% endfor %}
<td role="cell" data-label="state"><span class="{{ row.findings[0].kind.severity if row.findings else "ok" }}">
{{ row.findings|map(attribute="kind.word")|unique|join(", ") if row.findings else "ok" }}</span></td>
</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
</main>
</body>
</html>
"""
LABELS = ("data set", "last good", "next", "size", "read in 30 days", "second copy", "state")


def render(rows: Sequence[Row], now: datetime, site: str) -> str:
    """The page's text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"clean": clean, "code": _code}

    def cells(row: Row) -> list[tuple[str, str]]:
        shown = (
            ago(row.last_good.start, now) if row.last_good else "never",
            "running" if row.running_since else ago(row.next_due, now) if row.next_due else "-",
            size(row.last_good.bytes) if row.last_good else "-",
            f"{row.coverage.share:.0%}" if row.coverage else "-",
            ago(row.newest_copy, now) if row.newest_copy else "-",
        )
        return list(zip(LABELS[1:], shown, strict=False))

    found = findings(rows)
    critical = sum(one.kind.severity == "critical" for one in found)
    verdict = "All backups are well" if rows else "No data set is declared"
    if found:
        verdict = f"{counted(len(found), 'finding')}, {critical or 'none'} critical"
    values = {"rows": rows, "now": now, "site": site, "found": found, "labels": LABELS, "verdict": verdict}
    return environment.from_string(PAGE).render(**values, cells=cells, style=Markup(STYLE))  # noqa: S704


def write(path: Path, rows: Sequence[Row], now: datetime, site: str) -> None:
    """Puts the page there, whole or not at all, readable for all."""
    replace(path, render(rows, now, site), 0o644)


def _code(text: str) -> Markup:
    """What stands between backticks, as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704

"""Status as one page of HTML that needs nothing else: no script, no style or image from elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from backup.rules import ago
from backup.sizes import size
from backup.status import Row, clean, findings
from inventories.files import replace

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="300">
<title>{{ "All backups are well" if not found else "%s findings" % found|length }} - {{ site }}</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
  table { border-collapse: collapse; width: 100% }
  th, td { border-bottom: 1px solid #ccc; padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top }
  .critical { color: #b00020 } .warning { color: #8a5a00 } .ok { color: #00662a }
</style>
<h1>Backups of {{ site }}</h1>
<p>As of <time datetime="{{ now.isoformat() }}">{{ now.strftime("%Y-%m-%d %H:%M") }} UTC</time>.
{% if found %}
<h2>What is wrong</h2>
<ul>
{% for one in found %}
  <li class="{{ one.kind.severity }}"><b>{{ one.data_set|clean }}: {{ one.kind.word }}.</b> {{ one.what|clean }}
    <br>{{ one.to_do|clean }}
{% endfor %}
</ul>
{% endif %}
<h2>Data sets</h2>
<table>
<tr><th>data set<th>last good<th>next<th>size<th>read back within 30 days<th>second copy<th>state
{% for row in rows %}
<tr><td>{{ row.plan.data_set|clean }}
  <td>{{ ago(row.last_good.start, now) if row.last_good else "never" }}
  <td>{{ "running" if row.running_since else ago(row.next_due, now) if row.next_due else "-" }}
  <td>{{ size(row.last_good.bytes) if row.last_good else "-" }}
  <td>{{ "{:.0%}".format(row.coverage.share) if row.coverage else "-" }}
  <td>{{ ago(row.newest_copy, now) if row.newest_copy else "-" }}
  <td class="{{ row.findings[0].kind.severity if row.findings else "ok" }}">
    {{ row.findings|map(attribute="kind.word")|unique|join(", ") if row.findings else "ok" }}
{% endfor %}
</table>
</html>
"""


def render(rows: Sequence[Row], now: datetime, site: str) -> str:
    """The page's text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["clean"] = clean
    return environment.from_string(PAGE).render(rows=rows, now=now, site=site, found=findings(rows), ago=ago, size=size)


def write(path: Path, rows: Sequence[Row], now: datetime, site: str) -> None:
    """Puts the page where the web server of the control host reads it, whole or not at all."""
    replace(path, render(rows, now, site), 0o644)

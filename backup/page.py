"""Status as one page of HTML that needs nothing else: no script, no style or image from elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from backup.page_style import STYLE, Cell, code, table
from backup.rules import ago
from backup.sizes import clean, counted, size
from backup.status import Row, findings
from inventories.files import replace

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
{{ table }}
{% endif %}
{% if certificates %}
<h2 id="certificates">Certificates</h2>
{{ certificates }}
{% endif %}
</main>
</body>
</html>
"""
LABELS = ("data set", "last good", "next", "size", "read in 30 days", "second copy", "state")


def render(rows: Sequence[Row], now: datetime, site: str) -> str:
    """The page's text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"clean": clean, "code": code}

    found = findings(rows)
    critical = sum(one.kind.severity == "critical" for one in found)
    verdict = "All backups are well" if rows else "No data set is declared"
    if found:
        verdict = f"{counted(len(found), 'finding')}, {critical or 'none'} critical"
    sets = table("sets", LABELS, ((clean(row.plan.data_set), cells(row, now)) for row in rows))
    values = {"rows": rows, "now": now, "site": site, "found": found, "table": sets, "verdict": verdict}
    ends = [(one.name, row.plan.host, one.ends) for row in rows for one in row.certificates]
    values["certificates"] = ends and table(
        "certificates",
        ("name", "host", "ends"),
        ((name, ((host, ""), (f"{end:%Y-%m-%d %H:%M} UTC, {ago(end, now)}", ""))) for name, host, end in ends),
    )
    return environment.from_string(PAGE).render(**values, style=Markup(STYLE))  # noqa: S704


def cells(row: Row, now: datetime) -> list[Cell]:
    """What is told of a data set, one for each of LABELS but the first."""
    shown = (
        ago(row.last_good.start, now) if row.last_good else "never",
        "running" if row.running_since else ago(row.next_due, now) if row.next_due else "-",
        size(row.last_good.bytes) if row.last_good else "-",
        f"{row.coverage.share:.0%}" if row.coverage else "-",
        ago(row.newest_copy, now) if row.newest_copy else "-",
    )
    state = ", ".join(dict.fromkeys(one.kind.word for one in row.findings)) or "ok"
    return [*((words, "") for words in shown), (state, row.findings[0].kind.severity if row.findings else "ok")]


def write(path: Path, rows: Sequence[Row], now: datetime, site: str) -> None:
    """Puts the page there, whole or not at all, readable for all."""
    replace(path, render(rows, now, site), 0o644)

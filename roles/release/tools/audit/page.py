"""An audit as one page of HTML that needs nothing else: no script, no style or image from elsewhere."""

from datetime import datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from backup.page_style import STYLE, Cell, code, table
from inventories.files import replace
from roles.release.tools.audit import told
from roles.release.tools.audit.audit import Verdict
from roles.release.tools.audit.findings import Kind
from roles.release.tools.audit.truth import channels

SHOWN = 200
"""Findings of a kind on the page."""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ verdict }} - {{ site }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>Release servers of {{ site }}</h1>
<p class="faint">As of <time datetime="{{ now.isoformat() }}">{{ now.strftime("%Y-%m-%d %H:%M") }} UTC</time>, \
against commit <code>{{ commit[:10] }}</code> of the metadata repository.</p>
</header>
<main>
<p class="verdict {{ severity }}">{{ verdict }}</p>
<h2>Servers</h2>
<ol>
{% for said, state in servers %}
<li class="{{ state }}"><p>{{ said }}</p></li>
{% endfor %}
</ol>
{% for kind, found, more in kinds %}
<h2>{{ kind.word|capitalize }} ({{ found|length + more }})</h2>
<p class="faint">{{ kind.to_do|code }}</p>
<ol>
{% for one in found %}
<li class="{{ kind.severity }}">
<strong>{{ one.server }}{{ ": " if one.device }}{{ one.device }} {{ one.channel }}</strong>
{% if one.path %}<p><code>{{ one.path }}</code></p>{% endif %}
<p>found {{ one.found }}; expected {{ one.expected }}</p>
</li>
{% endfor %}
</ol>
{% if more %}<p>And {{ more }} more.</p>{% endif %}
{% endfor %}
<h2 id="devices">Devices and channels</h2>
{{ table }}
</main>
</body>
</html>
"""


def render(verdict: Verdict, now: datetime, site: str) -> str:
    """The page's text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["code"] = code
    by_kind = [(kind, [one for one in verdict.findings if one.kind is kind]) for kind in Kind]
    labels = ("device", *channels(verdict.truth.lines), "other")
    failing = {one.server for one in verdict.wrong}
    return environment.from_string(PAGE).render(
        verdict=told.verdict_line(verdict),
        severity="critical" if verdict.wrong else "ok",
        commit=verdict.truth.commit,
        servers=[(told.server(one, now), "critical" if one.name in failing else "ok") for one in verdict.servers],
        kinds=[(kind, found[:SHOWN], max(0, len(found) - SHOWN)) for kind, found in by_kind if found],
        table=table("devices", labels, ((row.name, _cells(row)) for row in told.rows(verdict))),
        now=now,
        site=site,
        style=Markup(STYLE),  # noqa: S704
    )


def _cells(row: told.Device) -> list[Cell]:
    counts = row.channels.values()
    shown = [("-", "") if one is None else (f"{one} wrong", "critical") if one else ("ok", "ok") for one in counts]
    return [*shown, (str(row.other or ""), "")]


def write(path: Path, verdict: Verdict, now: datetime, site: str) -> None:
    """Puts the page there, whole or not at all, readable for all."""
    replace(path, render(verdict, now, site), 0o644)

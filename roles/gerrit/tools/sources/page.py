"""An audit of sources as one page of HTML that needs nothing else: no script, no style or image from elsewhere."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from backup.page_style import STYLE, code, table
from inventories.files import replace
from roles.gerrit.tools.sources import told
from roles.gerrit.tools.sources.findings import WRONG, Finding, Kind
from roles.gerrit.tools.sources.told import Audited

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
<h1>Sources of {{ site }}</h1>
<p class="faint">As of <time datetime="{{ now.isoformat() }}">{{ now.strftime("%Y-%m-%d %H:%M") }} UTC</time>, \
as somebody without an account gets them.</p>
</header>
<main>
<p class="verdict {{ severity }}">{{ verdict }}</p>
<h2>Manifests</h2>
<ol>
{% for name, said, state in manifests %}
<li class="{{ state }}"><strong>{{ name }}</strong><p>{{ said }}</p></li>
{% endfor %}
</ol>
{% if devices %}
<h2 id="devices">What is hit</h2>
{{ devices }}
{% endif %}
{% for kind, found, more in kinds %}
<h2>{{ kind.word|capitalize }} ({{ found|length + more }})</h2>
<p class="faint">{{ kind.to_do|code }}</p>
<ol>
{% for one in found %}
<li class="{{ kind.severity }}">
<strong>{{ one.project or one.url }}{{ " in " if one.path and one.path != one.project }}\
{{ one.path if one.path != one.project }}</strong>
{% if one.file %}<p><code>{{ one.file }}</code></p>{% endif %}
<p>{{ one.url }}: found {{ one.found }}; expected {{ one.expected }}</p>
<p>Hits {{ one.hits }}{{ "; groups " if one.groups }}{{ one.groups|join(", ") }}\
{{ "; " if one.where }}{{ one.where }}</p>
</li>
{% endfor %}
</ol>
{% if more %}<p>And {{ more }} more.</p>{% endif %}
{% endfor %}
</main>
</body>
</html>
"""


def render(found: Sequence[Audited], now: datetime, site: str) -> str:
    """The page's text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["code"] = code
    findings = [*dict.fromkeys(each for one in found for each in one.verdict.findings)]
    by_kind = [(kind, [one for one in findings if one.kind is kind]) for kind in Kind]
    return environment.from_string(PAGE).render(
        verdict=told.verdict_line(found),
        severity="critical" if told.wrong(found) else "ok",
        manifests=[(one.manifest, told.asked(one, now), "critical" if one.verdict.wrong else "ok") for one in found],
        kinds=[(kind, mine[:SHOWN], max(0, len(mine) - SHOWN)) for kind, mine in by_kind if mine],
        devices=_devices(findings),
        now=now,
        site=site,
        style=Markup(STYLE),  # noqa: S704
    )


def write(path: Path, found: Sequence[Audited], now: datetime, site: str) -> None:
    """Puts the page there, whole or not at all, readable for all."""
    replace(path, render(found, now, site), 0o644)


def _devices(findings: Sequence[Finding]) -> Markup | None:
    """How many findings that fail hit each device, those of all devices first."""
    failing = [one for one in findings if one.kind.severity == WRONG]
    counts = Counter(device for one in failing for device in one.devices)
    rows = [(device, [(f"{counts[device]} wrong", "critical")]) for device in sorted(counts)]
    if shared := sum(not one.devices for one in failing):
        rows.insert(0, ("every device", [(f"{shared} wrong", "critical")]))
    return table("devices", ("device", "findings"), rows) if rows else None

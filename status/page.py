"""A site as one page of HTML that needs nothing else: no script, no style or image from elsewhere."""

from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from backup.page_style import STYLE, code, table
from backup.sizes import clean
from inventories.files import replace
from status.site import Whole, to_do
from status.told import Severity, Table

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ whole.verdict }} - {{ whole.site }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>Status of {{ whole.site }}</h1>
<p class="faint">As of <time datetime="{{ whole.time.isoformat() }}">{{ whole.time.strftime("%Y-%m-%d %H:%M") }} UTC\
</time></p>
</header>
<main>
<p class="verdict {{ look(whole.findings[0][1].severity) if whole.findings else "ok" }}">{{ whole.verdict }}</p>
{% if whole.findings %}
<section aria-labelledby="now">
<h2 id="now">What needs a person, and what to do</h2>
<ol>
{% for _, one in whole.findings %}
<li class="{{ look(one.severity) }}">
<strong>{{ one.about|clean }}: {{ one.kind }}</strong> ({{ words[one.severity] }})
<p>{{ one.what|clean }}</p>
<p>{{ to_do(one)|code }}</p>
</li>
{% endfor %}
</ol>
</section>
{% endif %}
{% for one in whole.looked %}
<section aria-labelledby="{{ one.source.name }}">
<h2 id="{{ one.source.name }}">{{ one.source.title }}</h2>
<p class="faint">More: <code>{{ one.source.more }}</code></p>
{% if one.why %}
<p class="critical">Not seen: {{ one.why|clean }}</p>
{% endif %}
{% for each in one.seen.tables %}
<h3 id="table-{{ each.name }}">{{ each.title }}</h3>
{{ shown(each) }}
{% endfor %}
{% if one.seen.notes %}
<h3>Said on the way</h3>
<ul>
{% for note in one.seen.notes %}
<li>{{ note|clean }}</li>
{% endfor %}
</ul>
{% endif %}
</section>
{% endfor %}
</main>
</body>
</html>
"""
OWN_STYLE = """
h3 { font-size: 1rem; margin: 1rem 0 .25rem }
ul { list-style: none; margin: 0; padding: 0 }
th, td, p { overflow-wrap: anywhere }
@media (min-width: 60rem) { thead th { white-space: nowrap } tbody th { min-width: 6rem } }
@media (min-width: 44.01rem) { th, td { padding-right: .75rem } }
"""
LOOKS = {Severity.UNSEEN: "critical", Severity.CRITICAL: "critical", Severity.WARNING: "warning"}
WORDS = {Severity.UNSEEN: "not seen", Severity.CRITICAL: "critical", Severity.WARNING: "warning"}


def render(whole: Whole) -> str:
    """The page's text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"clean": clean, "code": code}
    style = Markup(STYLE + OWN_STYLE)  # noqa: S704
    values = {"whole": whole, "style": style, "look": LOOKS.__getitem__, "words": WORDS}
    return environment.from_string(PAGE).render(**values, to_do=to_do, shown=_table)


def _table(one: Table) -> Markup:
    rows = ((clean(row.name), [(clean(words), look) for words, look in row.cells]) for row in one.rows)
    return table(f"table-{one.name}", one.labels, rows)


def write(path: Path, whole: Whole) -> None:
    """Puts the page there, whole or not at all, readable for all."""
    replace(path, render(whole), 0o644)

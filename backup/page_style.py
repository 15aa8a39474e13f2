"""What pages look like that people are told by: in light and dark, on a phone, in print."""

import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

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
li {
  background: var(--box); border-left: .375rem solid; margin: .5rem 0; padding: .5rem .75rem; break-inside: avoid;
  overflow-wrap: anywhere;
}
li p { color: var(--text) }
code { font: .9em ui-monospace, monospace; background: var(--ground); padding: .1em .25em; border-radius: .2em }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .375rem 1rem .375rem 0; text-align: left; vertical-align: top }
thead th { color: var(--faint); font-weight: 600 }
tbody th { font-weight: 600; overflow-wrap: anywhere }
tr { break-inside: avoid }
:focus-visible { outline: .1875rem solid var(--text); outline-offset: .125rem }
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


def code(text: str) -> Markup:
    """What stands between backticks, as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


Cell = tuple[str, str]
"""Its words, and the class that says how they look; empty: plainly."""


def table(heading: str, labels: Sequence[str], rows: Iterable[tuple[str, Sequence[Cell]]]) -> Markup:
    """A row each, with what it is of and its cells. heading: the id of what the table is called; labels: of columns."""
    head = Markup().join(Markup('<th scope="col" role="columnheader">{}</th>').format(label) for label in labels)
    body = Markup().join(_row(labels[1:], *row) for row in rows)
    return Markup(
        '<table role="table" aria-labelledby="{}">\n<thead role="rowgroup">\n<tr role="row">{}</tr>\n</thead>\n'
        '<tbody role="rowgroup">\n{}</tbody>\n</table>'
    ).format(heading, head, body)


def _row(labels: Sequence[str], name: str, cells: Sequence[Cell]) -> Markup:
    shown = Markup().join(
        Markup('<td role="cell" data-label="{}">{}</td>\n').format(
            label, Markup('<span class="{}">{}</span>').format(look, words) if look else words
        )
        for label, (words, look) in zip(labels, cells, strict=True)
    )
    return Markup('<tr role="row">\n<th scope="row" role="rowheader">{}</th>\n{}</tr>\n').format(name, shown)

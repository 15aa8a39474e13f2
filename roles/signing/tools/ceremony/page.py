"""A checklist as one page of HTML that needs nothing else, made for paper: black on white, no step cut in two."""

from collections.abc import Iterator
from html import escape

from roles.signing.tools.ceremony.checklist import Checklist, Step
from roles.signing.tools.ceremony.fingerprints import aloud

STYLE = """
* { box-sizing: border-box }
body { color: #000; background: #fff; font: 11pt/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 46rem;
  padding: 1rem }
h1 { font-size: 1.4rem; line-height: 1.2; margin: 0 }
p { margin: .25rem 0 }
table { border-collapse: collapse; margin: 1rem 0; table-layout: fixed; width: 100% }
th, td { border: 1px solid #000; height: 2.2rem; padding: .25rem .5rem; text-align: left; vertical-align: top }
th { font-weight: 600; height: auto }
ol { list-style: none; margin: 0; padding: 0 }
ol > li { border-top: 1px solid #000; break-inside: avoid; display: grid; gap: 0 .75rem;
  grid-template-columns: 1.2rem 2rem 1fr 7.5rem; padding: .6rem 0 }
ul { list-style: none; margin: .25rem 0; padding: 0 }
.box { border: .1rem solid #000; display: inline-block; height: 1rem; margin-top: .2rem; width: 1rem }
ul .box { height: .8rem; margin: 0 .4rem -.05rem 0; width: .8rem }
.number, .who { font-weight: 600 }
.at { border-bottom: 1px solid #000; font-size: .8rem; height: 1.6rem }
.what { grid-column: 3 / 5; min-width: 0; overflow-wrap: anywhere }
pre, code, .digest { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em }
pre { background: #f2f2f2; border-left: .25rem solid #000; margin: .4rem 0; padding: .4rem .6rem;
  overflow-wrap: anywhere; white-space: pre-wrap }
.digest { display: block; font-size: 1.05em; white-space: pre }
.blank { border-bottom: 1px solid #000; display: inline-block; min-width: 16rem }
@media (max-width: 40rem) {
  .digest { white-space: pre-wrap }
  ol > li { grid-template-columns: 1.2rem 2rem 1fr }
  .at { grid-column: 3 } .what { grid-column: 1 / 4 }
}
@media print {
  @page { size: A4; margin: 15mm }
  body { max-width: none; padding: 0 }
  pre { background: none; border: 1px solid #000; border-left-width: .25rem }
  tr { break-inside: avoid }
}
"""


def html(made: Checklist) -> str:
    """All of it."""
    return "\n".join(_page(made)) + "\n"


def _page(made: Checklist) -> Iterator[str]:
    title = escape(f"{made.title} ({made.kind})")
    yield f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>'
    yield f"<body>\n<header>\n<h1>{title}</h1>\n<p>Devices: {escape(', '.join(made.devices))}</p>"
    yield f"<p>Made from <code>{escape(made.declared)}</code></p>\n{_digest(made.digest)}"
    yield '<table aria-label="When">\n<tr><th>Date</th><th>Begun (UTC)</th><th>Ended (UTC)</th></tr>'
    yield '<tr><td></td><td></td><td></td></tr>\n</table>\n<table aria-label="Who">'
    yield "<tr><th>Who</th><th>Name</th><th>Signature</th></tr>"
    yield from (f"<tr><th>{escape(one)}</th><td></td><td></td></tr>" for one in made.people)
    yield "</table>\n</header>\n<main>\n<ol>"
    for number, step in enumerate(made.steps, 1):
        yield from _step(number, step)
    yield "</ol>\n</main>\n</body>\n</html>"


def _step(number: int, step: Step) -> Iterator[str]:
    yield f'<li>\n<span class="box"></span><span class="number">{number}.</span>'
    yield f'<span class="who">{escape(step.who)}</span><span class="at">at (UTC)</span>'
    yield f'<div class="what">\n<p>{_code(step.what)}</p>'
    yield from (f"<pre>{escape(command)}</pre>" for command in step.commands)
    if step.expect:
        items = "".join(f'<li><span class="box"></span><code>{escape(one)}</code></li>' for one in step.expect)
        yield f"<p>It shows, among other things:</p>\n<ul>{items}</ul>"
    for about, digest in step.aloud.items():
        yield f'<ul><li><span class="box"></span>{escape(about)}{_digest(digest)}</li></ul>'
    yield from (f'<p>{escape(one)}: <span class="blank"></span></p>' for one in step.note)
    yield "</div>\n</li>"


def _digest(digest: str) -> str:
    return f'<span class="digest">{chr(10).join(aloud(digest))}</span>'


def _code(text: str) -> str:
    """What stands between backticks, as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))

"""What is printed of an envelope: a page of HTML for each that is sealed, which needs nothing else, for A4."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import segno
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from backup import custody, mirror
from backup.envelope import key
from backup.envelope.lines import Sheet
from inventories.envelope import Record
from inventories.inventory import LoadedSite

TEMPLATE = Path(__file__).with_name("page.html.j2")
CORRECTION = {key.LETTER: "l"}
"""Of a QR code: the letter is long, and damaged it can be typed; all others stand more damage."""


def render(site: LoadedSite, record: Record, before: Record | None, sheets: Sequence[Sheet]) -> Mapping[str, str]:
    """The pages by the names of their files: one for the key, or one for each share; each has the letter too.

    before: the envelope that this one is in the place of.
    """
    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text())
    (letter,) = (sheet for sheet in sheets if sheet.name.kind == key.LETTER)
    shown = {
        "site": site,
        "record": record,
        "before": before,
        "letter": letter,
        "code": code,
        "vault": custody.vault_of(site),
        "copy": site.fleet.backup.copy_,
        "mirrors": mirror.declared(site),
        "accounts": accounts(site),
    }
    return {
        f"{sheet.name.kind.lower()}.html": template.render(shown, sheet=sheet) + "\n"
        for sheet in sheets
        if sheet is not letter
    }


def code(sheet: Sheet) -> Markup:
    """The lines of a sheet as a QR code."""
    made = segno.make(sheet.text, error=CORRECTION.get(sheet.name.kind, "q"), boost_error=False)
    return Markup(made.svg_inline(border=4, omitsize=True, svgclass="code", lineclass=None))  # noqa: S704


def accounts(site: LoadedSite) -> list[tuple[str, str]]:
    """What this project knows of whom a lost account is asked back from: what it is for, and where that is."""
    found = [("the hosts", _host(site.fleet.provider.api_url)), ("the names", site.fleet.site.domain)]
    if site.fleet.backup.copy_:
        found.append(("the second copy", _host(site.fleet.backup.copy_.endpoint)))
    hosts = dict.fromkeys(map(_host, mirror.declared(site).values()))
    return found + [("repositories", host) for host in hosts]


def _host(url: str) -> str:
    return urlsplit(url).hostname or url

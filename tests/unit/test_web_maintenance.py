"""The page of maintenance, and what is declared of it."""

from pathlib import Path
from typing import Any

import pytest

from backup.drills.own_site import drill_of
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from roles.web import maintenance
from roles.web.settings import Settings
from roles.web.tools.on_server import MAINTENANCE


def declared(**settings: Any) -> Settings:
    host = {"role": "web", "plan": "p", "region": "ams"}
    fleet = {"site": {"name": "x", "domain": "example.org"}, "hosts": {"web-1": host}, "settings": {"web": settings}}
    found = LoadedSite(Path("x.toml"), Fleet.model_validate(fleet)).settings("web-1")["web"]
    assert isinstance(found, Settings)
    return found


def test_a_website_is_in_maintenance_only_if_that_is_declared() -> None:
    page = str(MAINTENANCE)
    assert (maintenance.files("x", declared()), maintenance.absent(declared())) == ({}, (page,))
    on = declared(maintenance=True)
    assert ({*maintenance.files("x", on)}, maintenance.absent(on)) == ({page}, ())


@pytest.mark.parametrize(
    ("field", "value"),
    [("maintenance", "soon"), ("maintenance_text", " \n"), ("maintenance_text", ""), ("maintenance_text", "x" * 2001)],
)
def test_what_is_declared_wrongly_is_named(field: str, value: str) -> None:
    with pytest.raises(InputError) as raised:
        declared(**{field: value})
    assert raised.value.field == f"hosts.web-1.settings.web.{field}"


def test_the_page_says_what_is_given_and_takes_no_markup_from_it() -> None:
    page = maintenance.page("a&b", "One <b>thing</b>.\n\n\n\nAnd another.\n")
    assert "<p>One &lt;b&gt;thing&lt;/b&gt;.</p>\n<p>And another.</p>" in page
    assert "<title>Down for maintenance: a&amp;b</title>" in page


def test_a_drill_restores_a_website_that_people_see() -> None:
    assert declared(**{"maintenance": True} | dict(drill_of("web").quiet)).maintenance is False

"""A monitor host and a web server that it watches, in a lab of their own, and where people are told."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from inventories import editing, monitoring
from inventories.inventory import LoadedSite, load_site
from lab.engine import LabConfig
from lab.sites import derive, only
from tests.labs import disconnect, kept_lab
from tests.post_office import Server, serving
from tests.saved_site import Saved
from tests.waiting import until

HOST, WATCHED = "monitor-1", "web-1"
HOOK, PING = "/hook/0f1e2d3c", "/ping/4b5a6978"
"""Whoever knows them can write there: they are secrets."""
OFFICE_PORT = 8881
"""On the lab's gateway; the monitor host goes on with it when the lab comes up again."""
PAGE = "mkdir -p /srv/web/public && echo page >/srv/web/public/index.html"


@dataclass(frozen=True)
class Monitored(Saved):
    """The site in service, and all well."""

    office: Server

    @property
    def site(self) -> LoadedSite:
        return load_site(self.inventory)

    def told(self) -> list[tuple[list[str], list[str]]]:
        """Messages of the webhook: what began, what ended, each as `KIND HOST`."""

        def words(found: list[dict[str, str]]) -> list[str]:
            return [f"{one['kind']} {one['data_set']}" for one in found]

        return [(words(sent["began"]), words(sent["ended"])) for sent in self.office.messages(HOOK)]

    def pings(self) -> int:
        return sum(path.startswith(PING) for path, _ in self.office.got)

    def mails(self) -> list[bytes]:
        """All that have arrived."""
        return [path.read_bytes() for path in sorted((self.lab.root / "mail").glob("*.eml"))]


def monitored_site(folder: Path) -> Iterator[Monitored]:
    """A fixture's body."""
    with kept_lab("monitored", build) as lab, serving(str(lab.gateway4), OFFICE_PORT) as office:
        made = Monitored(derived(lab, folder), folder, lab, office)
        for host in (HOST, WATCHED):
            until(f"{host} is up", partial(made.up, host))
        yield made
        disconnect(made.ssh_config)


def build(lab: LabConfig) -> None:
    """The site, deployed."""
    with serving(str(lab.gateway4), OFFICE_PORT) as office:
        folder = lab.root / "built"
        made = Monitored(derived(lab, folder), folder, lab, office)
        monitoring.make(made.site)
        site = made.site
        wanted = {monitoring.WEBHOOK: f"{office.url}{HOOK}", monitoring.PING: f"{office.url}{PING}"}
        plain = {name: editing.Plain(value) for name, value in wanted.items()}
        editing.apply(site.secrets.path, site.secrets.entries, plain, site.readers)
        made.deploy("provision", "site")
        made.root(WATCHED, PAGE)


def derived(lab: LabConfig, folder: Path) -> Path:
    """The inventory of a lab's site that has nothing but the two."""

    def change(document: Any) -> None:
        only(document, WATCHED)
        document["hosts"][HOST] = {"role": "monitor", "plan": "vc2-1c-1gb", "region": "ams", "firewall": "monitor"}
        document["firewalls"]["monitor"] = document["firewalls"]["control"]
        for name in ("public-web", "monitor"):
            document["firewalls"][name]["rules"].append({"protocol": "tcp", "port": "9100", "notes": "monitor"})
        document["firewalls"]["monitor"]["rules"].append({"protocol": "tcp", "port": "19532", "notes": "journals"})
        document["settings"]["monitor"] = {"interval_seconds": 5, "patience_minutes": 0}

    return derive(lab, folder, change)

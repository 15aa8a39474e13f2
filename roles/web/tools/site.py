"""The web servers of a site: where each is, what is set for it, and how it is looked at from outside."""

from collections.abc import Mapping, Sequence
from typing import Any

from backup.reach import Reach
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.common import nginx
from roles.common.publishing import fronts
from roles.common.publishing.hearing import Hearing
from roles.common.publishing.servers import Place, left, place
from roles.web.settings import Settings
from roles.web.tools.outside import look, look_in_maintenance
from roles.web.tools.publish import Run

ROLE = "web"


def settings(site: LoadedSite) -> Mapping[str, Settings]:
    """Of each web server, by its name. Raises InputError when there is none."""
    found = {name: site.settings(name)[ROLE] for name in site.fleet.with_role(ROLE)}
    if not found:
        raise InputError(site.path, "hosts", f"none has the role {ROLE}", "there is nowhere to publish a website")
    return {name: one for name, one in found.items() if isinstance(one, Settings)}


def run(way: Reach, hear: Hearing, without: Sequence[str] = (), *, dry: bool = False) -> Run:
    """Something to do with all web servers but those, each of which is looked at by its own addresses.

    Raises InputError.
    """
    site, known = way.site, settings(way.site)

    def seen(server: Place, manifest: Mapping[str, Any], paths: Sequence[str]) -> list[str]:
        set_for = known[server.name]
        if set_for.maintenance:
            return fronts.look(site, server.name, lambda client: look_in_maintenance(client, manifest, paths))
        return fronts.look(site, server.name, lambda client: look(client, manifest, paths, set_for.places()))

    names = left(ROLE, known, without)
    places = [place(way, name, nginx.content_volume(site, name, known[name]).mount, ROLE) for name in names]
    return Run(places, seen, max(one.releases_kept for one in known.values()), hear, site.ssh_user, dry)

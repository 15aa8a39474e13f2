"""A look at a whole site: every host against its deploy, and what nobody declared. Changes nothing anywhere.

One remote command for each host; a second one where the content of a file differs, for its lines.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from backup.reach import Unreachable, reach
from drift import provider
from drift.asking import Ask, ask, of_all
from drift.beside import beside, dated
from drift.findings import UNSEEN, Drift, Finding
from drift.planned import Planned
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.base.drift import listens


def look(site: LoadedSite, names: Sequence[str] = ()) -> Drift:
    """At these hosts, or at all and at the provider. Raises InputError as a deploy would."""
    chosen = _chosen(site, names)
    with ThreadPoolExecutor(1) as aside, reach(site) as way:
        asked = None if names or site.fleet.own_machines else aside.submit(lambda: [*provider.differences(site)])
        found = [*hosts(site, chosen, partial(ask, way))]
        return Drift(chosen, (*found, *(asked.result() if asked else ())))


def _chosen(site: LoadedSite, names: Sequence[str]) -> list[str]:
    if site.local:
        hint = "at its console: pyinfra ... --dry, and mainstay hsm audit"
        raise InputError(site.path, "site.connection", "no network leads to its hosts", hint)
    if unknown := sorted({*names} - site.fleet.hosts.keys()):
        raise InputError(site.path, "hosts", f"no host {unknown[0]!r}", f"there are: {', '.join(site.fleet.hosts)}")
    return [name for name in site.fleet.hosts if name in names or not names]


def hosts(site: LoadedSite, names: Sequence[str], ask: Ask) -> Iterator[Finding]:
    """What differs on each, in their order; that one could not be looked at is a finding, too."""
    locked = site.lock.hosts
    planned = {name: Planned(site, name) for name in names if name in locked and locked[name].host_keys}
    said = of_all(ask, {name: one.questions() | {"declared": one.declared()} for name, one in planned.items()})
    answered = {name: planned[name] for name, answer in said.items() if not isinstance(answer, Unreachable)}
    found = {name: one.take(said[name]["looks"]) for name, one in answered.items()}
    more = of_all(ask, {name: one.questions() for name, one in answered.items() if one.open})
    found |= {name: answered[name].take(answer["looks"]) for name, answer in more.items() if isinstance(answer, dict)}
    for name in names:
        if name in found:
            yield from (dated(one, said[name]) for one in found[name])
            yield from beside(name, listens(site, name), said[name])
        else:
            why = str(said.get(name, "not provisioned yet")).removeprefix(f"{name}: ")
            yield Finding(name, UNSEEN, "host", why)

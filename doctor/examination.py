"""Can I work: this machine, this clone, these keys, this site. Reads, and changes nothing."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from doctor import clone, hosts, machine, site
from doctor.told import LateError, Told, failed, note, ok, told, within
from inventories.errors import InputError
from inventories.inventory import CLONE, available


def examine(inventory: Path | None) -> Iterator[Told]:
    """All checks, one after the other. inventory: of the site; None looks at what is of all sites."""
    yield from told("python", partial(machine.environment, CLONE))
    for program in ("git", "rsync"):
        yield from told(program, partial(machine.there, program, "--version"))
    yield from told("ssh", machine.ssh)
    yield from told("restic", machine.restic)
    yield from told("clone", partial(clone.look, CLONE))
    if inventory is None:
        says = "no site was named: its files, your keys and its hosts are not looked at"
        yield note("inventory", says, f"mainstay doctor --inventory with one of: {', '.join(available())}")
        return
    try:
        loaded = within(partial(site.load, inventory))
    except (InputError, OSError, LateError) as error:
        yield failed("inventory", error)
        return
    yield ok("inventory", f"{site.named(loaded)}, the site {loaded.name}")
    for look in (site.admins, site.me, site.secrets, site.envelope, site.lock):
        yield from told(look.__name__, partial(look, loaded))
    if loaded.local:
        yield note("hosts", "no network leads to them: not asked", "at their console: mainstay hsm audit")
    else:
        yield from told("hosts", partial(hosts.ask, loaded))

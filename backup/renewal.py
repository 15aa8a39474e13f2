"""How each secret of a site gets another value: by this project, or by whom; and who is to be given it then.

Names that roles and bundles have for their own stand here as words, since those are above this package;
tests/unit/test_renewal.py holds them against theirs.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from backup import custody, rotation
from backup.certificate import TLS_KEY
from backup.custody import DataSet
from backup.reach import reach
from backup.store import COPY_KEYS
from inventories import broken, departed, monitoring
from inventories.command_line import as_given
from inventories.editing import Plain
from inventories.errors import InputError
from inventories.inventory import CONTROL_RECIPIENT, LoadedSite
from inventories.secrets import CONTROL_KEY, SHARED

GERRIT_TOKEN, BUNDLE_KEY = "gerrit_token", "bundle_key"
GERRIT_FILE = "gerrit.toml"
FIRST = (custody.AGE_KEY, custody.SSH_KEY)
"""In this order, before all others: what is new is given away by none of these."""
OF_DATA = re.compile("(next_|old_)?backup_")
"""How names of data sets' passwords begin. These open the repository at once, and so while the vault still has the
certificate that is trusted: before its key. They are never sent; logins are, and come after that."""
Say = Callable[[str], None]


class Renewal(NamedTuple):
    """own: whether this project makes the value itself. how: what it does; else where a person gets another one, and
    what they do. then: commands that bring it to whom it is for. Of a data set, `rotate` gives these itself.
    """

    secret: str
    own: bool
    how: str
    then: tuple[str, ...] = ()


def renewal(site: LoadedSite, name: str) -> Renewal:
    """How one secret is renewed. Raises InputError."""
    for data_set in _data_sets(site):
        if name in (data_set.secret, *rotation.beside(data_set)):
            return Renewal(name, True, f"a new password: proved, deployed, the old one removed ({_rotate(data_set)})")
    if (own := _of_backups(site, name)) is not None:
        return own
    if name == monitoring.TLS_KEY and monitoring.monitor_host(site):
        how = f"a new key, and {monitoring.CERTIFICATE} of it; every host gets another one of its own"
        return Renewal(name, True, how, _deploys(site, ["site"]))
    if name not in site.secrets:
        return Renewal(name, True, "is not among the secrets any more: it is struck, and nothing made")
    if name == GERRIT_TOKEN:
        how = "a new token; Gerrit starts anew with it. See docs/runbooks/gerrit-token-lost.md"
        return Renewal(name, True, how, _deploys(site, ["gerrit"]))
    for bot in _bots(site, name):
        how = f"a new token; then tell whoever runs the bot {bot}: `mainstay secrets show {name}`"
        return Renewal(name, True, how, (f"mainstay gerrit apply --inventory {as_given(site.path)}",))
    return _by_hand(site, name)


def ordered(names: Iterable[str]) -> list[str]:
    """The order in which to renew them."""
    turns = (*FIRST, OF_DATA, TLS_KEY)

    def turn(name: str) -> int:
        known = OF_DATA if OF_DATA.match(name) else name
        return turns.index(known) if known in turns else len(turns)

    return sorted({*names}, key=lambda name: (turn(name), name))


def check(site: LoadedSite, names: Sequence[str]) -> None:
    """Raises InputError when a new value would be no secret, for somebody who has left knows the control host's key."""
    first = rotate_words(site, CONTROL_KEY)
    entries = site.secrets.entries
    for person, one in departed.read(site.files).items():
        exposed = [name for name in names if name in entries and SHARED & {*entries[name].tags}]
        if exposed and CONTROL_KEY in one.knows and CONTROL_KEY not in names:
            problem = f"knows {CONTROL_KEY}, which would open the new value of {', '.join(exposed)} too"
            raise InputError(site.files / departed.FILE, person, problem, f"first: {first}")


def rotate_words(site: LoadedSite, *names: str) -> str:
    """The command that renews secrets; without names, all that those know who have left."""
    return " ".join(("mainstay secrets rotate", *names, "--inventory", as_given(site.path)))


def renew(site: LoadedSite, name: str, say: Say) -> None:
    """Gives a secret that is the project's own another value, and strikes it of what those know who have left.

    Raises InputError, and for a data set what rotation.rotate raises.
    """
    for data_set in _data_sets(site):
        if name in (data_set.secret, *rotation.beside(data_set)):
            with reach(site) as way:
                rotation.rotate(way, data_set, say)
            return
    held = site.secrets.at(site.secrets.path)
    if _of_backups(site, name) is not None:
        custody.renew(site, name)
    elif name == monitoring.TLS_KEY and monitoring.monitor_host(site):
        monitoring.renew(site)
    elif name not in held:
        departed.strike(held.path, [name])
        say(f"{name}: struck")
        return
    else:
        custody.write(site, held, {name: Plain(custody.new_password(), held.entries[name].tags)})
        departed.strike(held.path, [name])
    say(f"{name}: a new value is in {site.secrets.path.name}")


def after_people(site: LoadedSite) -> tuple[str, ...]:
    """The commands that bring a change of admins to where they have accounts."""
    if site.local:
        roles = dict.fromkeys(host.role for host in site.fleet.hosts.values())
        inventory = f"--output DIR --inventory {as_given(site.path)}"
        return tuple(f"mainstay bundle make --for {role} {inventory}" for role in roles)
    review = (f"mainstay gerrit apply --inventory {as_given(site.path)}",)
    return _deploys(site, ["base", "control"]) + (review if (site.files / GERRIT_FILE).exists() else ())


def _rotate(data_set: DataSet) -> str:
    return f"mainstay backup rotate {data_set}"


def _data_sets(site: LoadedSite) -> tuple[DataSet, ...]:
    return custody.data_sets(site.fleet) if custody.vault_of(site) else ()


def _of_backups(site: LoadedSite, name: str) -> Renewal | None:
    """Of what `mainstay backup keys` makes, but the passwords of data sets."""
    if not custody.vault_of(site) or name not in custody.secret_names(site):
        return None
    made = "the vault refuses the old one from its deploy on"
    told: Mapping[str, tuple[str, Sequence[str]]] = {
        TLS_KEY: (f"a new key, and {custody.CERTIFICATE} of it", ["site"]),
        custody.SSH_KEY: ("a new key; hosts take the old one until their deploy", ["site"]),
        custody.AGE_KEY: (f"a new key and {CONTROL_RECIPIENT}; what is for it encrypted anew", ["control"]),
        custody.LOGINS[custody.CONTROL]: (made, ["vault", "control"]),
        custody.LOGINS[custody.ADMIN]: (made, ["vault"]),
    }
    if name in told:
        how, roles = told[name]
        return Renewal(name, True, how, _deploys(site, roles))
    [host] = (host for host in custody.clients(site.fleet) if custody.host_secret(host) == name)
    files = ["vault.py", f"{site.fleet.hosts[host].role}.py --limit {host}"]
    if name in custody.for_control(site.fleet) and custody.control_host(site):
        files.append("control.py")
    return Renewal(name, True, made, _pyinfra(site, files))


def _deploys(site: LoadedSite, roles: Iterable[str]) -> tuple[str, ...]:
    """Of those roles that the site has a host of."""
    has = {"site", "base", *(host.role for host in site.fleet.hosts.values())}
    return _pyinfra(site, [f"{role}.py" for role in roles if role in has])


def _pyinfra(site: LoadedSite, files: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"pyinfra {as_given(site.path)} deploys/{file}" for file in files)


def _bots(site: LoadedSite, name: str) -> Iterator[str]:
    """Names of the bots in gerrit.toml that log in with a secret."""
    path = site.files / GERRIT_FILE
    if path.exists():
        bots = broken.toml(path, path.read_bytes(), "mainstay gerrit plan").get("bots", {})
        yield from (bot for bot, table in bots.items() if isinstance(table, dict) and table.get("token") == name)


def _by_hand(site: LoadedSite, name: str) -> Renewal:
    """What others issue: which of them, and then the same for all."""
    where, roles = _issuer(site, name)
    edit = f"make another one there, put it in by `mainstay secrets edit --inventory {as_given(site.path)}`"
    return Renewal(name, False, f"{where}: {edit}, deploy it, then revoke the old one there", _deploys(site, roles))


def _issuer(site: LoadedSite, name: str) -> tuple[str, Sequence[str]]:
    """Where a secret is issued, and the roles that use it."""
    fleet = site.fleet
    copy = fleet.backup.copy_
    storage = f"in the console of the second copy's provider ({copy.endpoint if copy else 'none is declared'})"
    told: dict[str, tuple[str, Sequence[str]]] = {
        **dict.fromkeys(COPY_KEYS[custody.CONTROL], (f"{storage}, a key of the user that adds", ["control"])),
        **dict.fromkeys(COPY_KEYS[custody.ADMIN], (f"{storage}, a key of the admins' user", [])),
        "notify_webhook": ("where the webhook that takes alerts was made", ["control", "monitor"]),
        monitoring.PING: ("at the service that is pinged", ["monitor"]),
        "notify_ping": ("at the service that is pinged", ["control"]),
        BUNDLE_KEY: ("with `mainstay bundle key`, as bundle/README.md says of a new key", []),
    }
    if fleet.drill:
        told[fleet.drill.api_key] = ("in the console of the provider, in the drills' sub-account", ["control"])
    told[fleet.provider.api_key] = (f"in the console of the provider ({fleet.provider.api_url})", [])
    if name in told:
        return told[name]
    used = _used(site, name)
    if not used:
        return "nothing here names it. Take it out if nobody needs it; else where it was issued", []
    return "; ".join(_field_issuer(site, field) for field in used), [*dict.fromkeys(used.values())]


ISSUERS = {
    "mail.secret": "at the mail server that hosts send by",
    "certificate.dns_key": "in the console of the provider, for the user that may change DNS alone",
    "auth.passwords": "each person makes a new password (docs/runbooks/gerrit-new-person.md)",
    "logs.key": "with ssh-keygen; its public half goes to the git server of the HSMs' logs",
}
"""By the field of a role's settings that names the secret."""


def _field_issuer(site: LoadedSite, field: str) -> str:
    where = next((words for end, words in ISSUERS.items() if field.endswith(f".{end}")), "where it was issued")
    return f"{where} (named by {field})"


def _used(site: LoadedSite, name: str) -> dict[str, str]:
    """Fields of settings that have this value, each with its role."""
    settings = [site.settings(host) for host in site.fleet.hosts]
    return {
        f"settings.{role}.{field}": role
        for roles in settings
        for role, model in roles.items()
        for field in _fields(model.model_dump(), name)
    }


def _fields(value: Any, wanted: str, at: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _fields(inner, wanted, f"{at}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _fields(inner, wanted, f"{at}.{number}")
    elif value == wanted:
        yield at

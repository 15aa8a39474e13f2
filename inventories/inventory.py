"""From `inventories/NAME.toml` to what pyinfra and `mainstay` work on.

An inventory is two lines over its TOML file:

    from inventories.inventory import groups
    globals().update(groups(__file__))

so that groups come from the fleet and from nothing else. The deploy file on pyinfra's command line decides which hosts
are connected to, because pyinfra connects to every host of its inventory before it runs anything: `deploys/release.py`
needs the group `release` only, and a dead web server must not fail it; `deploys/provision.py` runs on this machine
alone, since its hosts may not exist yet.
"""

import hashlib
import importlib
import os
import pwd
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inventories import clone, command_line, envelope, keys, local, login
from inventories.admins import Admins, load_admins
from inventories.errors import InputError
from inventories.files import replace
from inventories.fleet import Fleet, Host, Provider
from inventories.lock import Lock, known_hosts, own_machines
from inventories.lock import load as load_lock
from inventories.roles import check_admins, check_fleet, roles_of
from inventories.secrets import CONTROL, Readers, Secrets
from inventories.typed import Typed, input_error

INVENTORIES = Path(__file__).parent
CLONE = INVENTORIES.parent
ADMINS = "admins.toml"
CONTROL_FOLDER = "MAINSTAY_CONTROL"
"""Names the folder that the control host has in the place of a site's own files; nobody else sets it."""
KEPT_DRILLS = "kept-drills"
"""Beside the reports of drills: the ways into hosts that were kept, inventories that no control host looks after."""
CONTROL_RECIPIENT = "control.age.pub"
"""In the site's files: the age recipient of the control host."""
PROVIDER_AUTHORITY = "provider.pem"
"""In the site's files, if the provider's certificate is of no public authority: what to trust in its place."""
WHOLE_SITE = frozenset({"site", "base", "upgrade"})
HostData = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class LoadedSite:
    """One inventory with the files beside it, checked. Cheap parts are read at once, others when first asked for."""

    path: Path
    """The TOML file."""
    fleet: Fleet
    control: Path | None = None
    """On the control host: its folder, with its own keys and no more of the secrets than it may read."""

    @property
    def name(self) -> str:
        return self.fleet.site.name

    @property
    def local(self) -> bool:
        """Whether its hosts are deployed at their own console alone; see fleet.Site.connection."""
        return self.fleet.site.connection == "local"

    @property
    def rehearsal(self) -> bool:
        """Whether its files lie apart from the inventory: a site of the local cloud, or one of a drill."""
        return Path(self.fleet.site.files).is_absolute()

    @property
    def production(self) -> bool:
        """Whether somebody would miss it: it is reached over a network, and is no rehearsal."""
        return not (self.local or self.rehearsal or self.fleet.provider.api_url != Provider().api_url)

    @property
    def files(self) -> Path:
        """Folder of admins.toml, secrets.age and lock.json."""
        return self.control or self.path.parent / (self.fleet.site.files or self.name)

    @property
    def lock_path(self) -> Path:
        return self.files / "lock.json"

    @property
    def lock(self) -> Lock:
        """As it is on disk now: provisioning changes it while it runs. Of machines of one's own, what is declared."""
        if self.fleet.own_machines:
            return own_machines(self.fleet.hosts)
        return load_lock(self.lock_path)

    @cached_property
    def admins(self) -> Admins:
        return load_admins(self.files / ADMINS)

    @cached_property
    def secrets(self) -> Secrets:
        key = self.control / "age_key" if self.control else self.ssh_key
        return Secrets(self.files / "secrets.age", [key] if key else None)

    @property
    def readers(self) -> Readers:
        """Whom secrets are encrypted to: the admins, the sealed envelope, the control host where one has a key.

        Raises InputError.
        """
        return readers(self.files, self.admins)

    @property
    def ssh_key(self) -> Path | None:
        """The key named by the inventory; None leaves it to the agent and ~/.ssh."""
        if self.control:
            return self.control / "ssh_key"
        if self.local:
            return None
        return self.files / self.fleet.site.ssh_key if self.fleet.site.ssh_key else None

    @cached_property
    def ssh_user(self) -> str:
        """The admin to log in as; see fleet.Site.ssh_user. The control host has an account of its own."""
        if self.control:
            return CONTROL
        known = sorted(admin.name for admin in self.admins.all())
        local = pwd.getpwuid(os.getuid()).pw_name
        for choice in (self.fleet.site.ssh_user, os.environ.get("MAINSTAY_ADMIN", ""), local if local in known else ""):
            if choice:
                if choice not in known:
                    hint = f"admins are: {', '.join(known)}"
                    raise InputError(self.files / ADMINS, f"admins.{choice}", "no such admin", hint)
                return choice
        if len(known) == 1:
            return known[0]
        hint = f"set MAINSTAY_ADMIN to one of: {', '.join(known) or 'nobody: add yourself first'}"
        raise InputError(self.files / ADMINS, "admins", "it is not clear who you are", hint)

    def settings(self, host: str) -> dict[str, Typed]:
        """The settings of a host's roles: the fleet's, over them the host's own. Raises InputError."""
        declared = self.fleet.hosts[host]
        return {role: self._settings_of(host, declared, role) for role in roles_of(declared)}

    def _settings_of(self, name: str, host: Host, role: str) -> Typed:
        model: type[Typed] = importlib.import_module(f"roles.{role}.settings").Settings
        try:
            return model.model_validate(self.fleet.settings.get(role, {}) | host.settings.get(role, {}))
        except ValidationError as error:
            raise input_error(self.path, error, f"hosts.{name}.settings.{role}") from error

    def known_hosts(self) -> Path:
        """A known_hosts file for the pinned keys of this moment, in the user's cache.

        Older ones stay: another run may be about to open a new connection by one.
        """
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mainstay" / "known_hosts"
        text = known_hosts(self.lock)
        digest = hashlib.sha256(f"{self.path}\n{text}".encode()).hexdigest()[:16]
        path = cache / f"{self.name}-{digest}"
        if not path.exists():
            replace(path, text)
        return path


def readers(files: Path, admins: Admins) -> Readers:
    """LoadedSite.readers, of a site's files."""
    sealed = envelope.read(files)
    found = {**admins.recipients(), **({envelope.READER: (sealed.recipient,)} if sealed else {})}
    path = files / CONTROL_RECIPIENT
    if not path.exists():
        return found
    try:
        return {**found, CONTROL: (keys.recipient(path.read_text().strip()),)}
    except ValueError as error:
        raise InputError(path, "", str(error), "restore it from git") from None


def load_site(path: Path | str, control: str | None = None) -> LoadedSite:
    """Reads and checks an inventory (its .py or .toml) with all settings, lock file and secrets.

    Touches no host and no API, decrypts nothing. Missing files are errors when they are needed. control: the control
    host's folder; by default as the environment says, "" for a site that is not the one it looks after.

    Raises InputError naming file and field.
    """
    path = Path(path).resolve().with_suffix(".toml")
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(path, "", "no such inventory", f"there are: {', '.join(available())}") from None
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, "", f"not TOML: {error}") from error
    try:
        fleet = Fleet.model_validate(data)
    except ValidationError as error:
        raise input_error(path, error) from error
    if control is None:
        control = "" if KEPT_DRILLS in path.parts else os.environ.get(CONTROL_FOLDER)
    site = LoadedSite(path, fleet, Path(control) if control else None)
    check_fleet(site.path, fleet)
    for name in fleet.hosts:
        site.settings(name)
    _ = site.lock, site.secrets
    if (site.files / ADMINS).exists():
        check_admins(site.files / ADMINS, site.admins)
    return site


def available() -> list[str]:
    """The inventories of this clone, as one passes them to `--inventory` where one is."""
    return sorted(os.path.relpath(path.with_suffix(".py")) for path in INVENTORIES.glob("*.toml"))


def check_files(site: LoadedSite) -> None:
    """Raises InputError if the local cloud is down that a rehearsal is in."""
    if site.rehearsal and not site.files.is_dir():
        hint = "the local cloud makes it: `bin/rehearse`, or `bin/mainstay lab up`"
        raise InputError(site.path, "site.files", f"{site.files} is not there", hint)


def groups(file: str, argv: list[str] | None = None) -> dict[str, list[HostData]]:
    """The groups an inventory file exports, for the deploy named on pyinfra's command line.

    Raises InputError (which pyinfra prints without a traceback) when the deploy's group is empty or not provisioned, or
    the command line names hosts that are not in it.
    """
    site = load_site(file)
    words = sys.argv if argv is None else argv
    under_pyinfra = command_line.is_pyinfra(words)
    if under_pyinfra:
        check_files(site)
        command_line.check_folder(CLONE)
        command_line.check_dry(words, os.environ)
        command_line.check_stops(words)
        clone.check(site, words, CLONE)
    if under_pyinfra and site.ssh_key:
        login.public_half(site.path, site.ssh_key)
    deploys = command_line.deploys(words)
    if site.local:
        return local.groups(site, words) if under_pyinfra else {}
    if deploys == {"provision"}:
        if site.fleet.own_machines:
            hint = f"deploy them as they are: deploys/{next(iter(site.fleet.hosts.values())).role}.py"
            raise InputError(site.path, "hosts", "are machines of your own, which no provider makes", hint)
        command_line.refuse_choices(words)
        return {"provision": [("@local", {"site": site, "_sudo": False})]}
    hosts = site.fleet.hosts
    if deploys and not deploys & WHOLE_SITE:
        hosts = {name: host for name, host in hosts.items() if host.role in deploys}
        for role in sorted(deploys - {host.role for host in hosts.values()}):
            have = ", ".join(sorted({host.role for host in site.fleet.hosts.values()}))
            raise InputError(site.path, "hosts", f"no host has the role {role!r}", f"roles of this inventory: {have}")
    locked = site.lock.hosts
    missing = [name for name in hosts if not (name in locked and locked[name].host_keys)]
    if missing and under_pyinfra:
        hint = f"run: pyinfra {os.path.relpath(site.path.with_suffix('.py'))} deploys/provision.py"
        raise InputError(site.lock_path, "hosts", f"not provisioned yet: {', '.join(missing)}", hint)
    exported: dict[str, list[HostData]] = {}
    for name, host in hosts.items():
        if name not in missing:
            exported.setdefault(host.role, []).append((name, host_data(site, name)))
    command_line.check_choices(words, {role: [name for name, _ in members] for role, members in exported.items()})
    return exported


def host_data(site: LoadedSite, name: str) -> dict[str, Any]:
    """What deploys, and pyinfra's connections, know of a host that is provisioned."""
    locked = site.lock.hosts[name]
    data: dict[str, Any] = {
        "site": site,
        "host_name": name,
        "declared": site.fleet.hosts[name],
        "locked": locked,
        "settings": site.settings(name),
        "ssh_hostname": locked.ipv4,
        "ssh_user": site.ssh_user,
        "ssh_known_hosts_file": str(site.known_hosts()),
        "ssh_strict_host_key_checking": "yes",
    }
    if site.ssh_key:
        data |= {"ssh_key": str(site.ssh_key), "ssh_allow_agent": False, "ssh_look_for_keys": False}
    return data

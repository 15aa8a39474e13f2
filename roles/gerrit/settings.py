"""What can be set for Gerrit, in `[settings.gerrit]` or a host's own `settings.gerrit`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inventories.typed import Typed
from roles.common import Listen, Opening, nginx
from roles.gerrit.auth import Auth, HttpAuth
from roles.gerrit.config_text import Sections

SSH_PORT = 29418
HTTP_PORT = 8081
"""On loopback alone."""
OPENINGS = (*nginx.OPENINGS, Opening(protocol="tcp", port=SSH_PORT))
LISTENS = (
    *nginx.LISTENS,
    Listen(protocol="tcp", port=SSH_PORT),
    Listen(protocol="tcp", port=HTTP_PORT, address="127.0.0.1"),
)
OWN_SECTIONS = frozenset({"auth", "container", "gerrit", "include", "ldap", "plugins", "sendemail"})
"""That the role writes, or nobody may: `include` would bring what no deploy knows of."""
INDEXES = ("accounts", "changes_open", "changes_closed", "groups", "projects")
OWN_KEYS = frozenset(
    {
        *(f'index "{one}".commitwithin' for one in INDEXES),
        "cache.directory",
        "httpd.listenurl",
        "index.type",
        "receive.enablesignedpush",
        "sshd.listenaddress",
        "user.anonymouscoward",
        "user.email",
        "user.name",
    }
)
"""Which it writes in sections that may have more; in lower case, as git compares them."""
Version = Annotated[str, Field(pattern=r"^[1-9]\d*\.\d+\.\d+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Source = Annotated[str, Field(pattern=r"^(https://\S+|/\S+)$")]
"""Where a file is had: an https address, which the host fetches, or a file of the machine that deploys."""


class War(Typed):
    """Gerrit itself."""

    version: Version
    sha256: Sha256
    source: Source


class Plugin(Typed):
    """What Gerrit loads besides; no other is there."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """As Gerrit has it."""
    version: str = Field(min_length=1)
    """As Gerrit tells it; a deploy fails where it loaded another one, or none."""
    sha256: Sha256
    source: Source
    sends: bool = False
    """That it tells other servers: it is there only while `outgoing` is set."""


class Upgrade(War):
    """What is to run next: `mainstay gerrit upgrade`. It stays declared until `war` is the version that runs."""

    plugins: tuple[Plugin, ...] | None = None
    """Of that version; by default those of now."""


class Settings(nginx.HttpSettings):
    """The code review."""

    volume: str = "site"
    """The host's volume that holds Gerrit's site, and nothing else: btrfs, so that a backup is of one instant."""
    war: War
    """What a new site is of, and what runs until an upgrade."""
    upgrade: Upgrade | None = None
    server_id: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    """Gerrit's `gerrit.serverId`, a UUID (`uuidgen`). Part of the data: changes name it, so it never changes again."""
    email: str = Field(pattern=r"^\S+@\S+$")
    """Of Gerrit itself: the committer of what it writes, and the sender of its mail."""
    heap_percent: int = Field(default=50, ge=10, le=80)
    """Of the host's memory, for Java's heap."""
    auth: Auth = HttpAuth()
    """How people log in by browser."""
    plugins: tuple[Plugin, ...] = ()
    sections: Sections = {}
    """More of gerrit.config, such as `sections.'plugin "x"'`. A value { secret = "NAME" } goes to secure.config."""
    files: dict[Literal["lfs.config", "replication.config"], Sections] = {}
    """Of plugins, in the same form."""
    outgoing: bool = False
    """Whether mail is sent, by the smarthost of the base's settings, and plugins are there that send. False in labs and
    drills. A restored site sends nothing before the next deploy, whatever is set."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.upgrade and self.upgrade.version == self.war.version:
            raise ValueError("upgrade: that is the version of war: it is done, and can go")
        for where, plugins in (("plugins", self.plugins), ("upgrade.plugins", self.upgrade and self.upgrade.plugins)):
            names = [plugin.name for plugin in plugins or ()]
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{where}: {twice[0]} is there twice")
        if self.auth.type == "oauth" and not self.plugins:
            raise ValueError("auth: oauth needs a plugin that leads to a provider: declare it in plugins")
        for where, sections in (("sections", self.sections), *self.files.items()):
            for section, keys in sections.items():
                if section.partition(" ")[0].lower() in OWN_SECTIONS:
                    raise ValueError(f"{where}: [{section}] is not for this: other settings say it, or nothing does")
                for key in keys:
                    if where == "sections" and f"{section}.{key}".lower() in OWN_KEYS:
                        raise ValueError(f"sections: {section}.{key} is the role's own")
        return self

    def wars(self) -> dict[str, tuple[War, tuple[Plugin, ...]]]:
        """What can run, the one of now first, by its name here; each with the plugins that have to be there then."""
        found = {"war": (self.war, self.plugins)}
        if self.upgrade:
            found["upgrade"] = (self.upgrade, self.plugins if self.upgrade.plugins is None else self.upgrade.plugins)
        return {
            name: (war, tuple(plugin for plugin in plugins if self.outgoing or not plugin.sends))
            for name, (war, plugins) in found.items()
        }

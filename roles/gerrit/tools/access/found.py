"""What is there, as it was read from a Gerrit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from roles.gerrit.tools.access.project_config import Config

NEW = "new:"
"""What stands for the UUID of a group that is yet to be made."""


@dataclass(frozen=True)
class FoundGroup:
    """One of Gerrit's own. members: numbers of accounts, by name (or #number where one has none)."""

    uuid: str
    name: str
    description: str
    owner: str
    """UUID."""
    visible: bool
    members: Mapping[str, int]
    includes: frozenset[str]
    """UUIDs."""


@dataclass(frozen=True)
class FoundAccount:
    """keys: numbers of its SSH keys, by type and base64."""

    number: int
    keys: Mapping[str, int]
    token: bool = True
    """Whether the declared one lets it in."""


@dataclass(frozen=True)
class FoundProject:
    """revision: of refs/meta/config; config: None where it is not declared and was not read."""

    revision: str
    config: Config | None


@dataclass(frozen=True)
class Found:
    """All of it. uuids: of groups that are not Gerrit's own, by name."""

    version: tuple[int, ...]
    by_header: bool
    """Whether a proxy tells who somebody is; otherwise accounts of people come into being as they log in."""
    groups: Mapping[str, FoundGroup]
    uuids: Mapping[str, str]
    accounts: Mapping[str, FoundAccount]
    projects: Mapping[str, FoundProject]
    called: Mapping[str, str] = field(default_factory=dict)
    """Of groups that were renamed behind our back: what they are called there, by their own name."""

    def uuid(self, name: str) -> str:
        """Of a group by its name; empty where there is none."""
        own = next((group.uuid for group in self.groups.values() if group.name == name), "")
        return own or self.uuids.get(name, "")

    def names(self) -> dict[str, str]:
        """Of all groups, by UUID."""
        named = {group.uuid: group.name for group in self.groups.values()}
        return {uuid: name for name, uuid in self.uuids.items()} | named

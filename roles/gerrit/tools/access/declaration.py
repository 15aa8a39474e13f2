"""What may stand in gerrit.toml and people.toml: each field by itself."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from inventories import keys
from inventories.typed import Typed
from roles.gerrit.tools.access import words

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000, pattern=r"^[^\n\r\x00]*$")]
SubmitType = Literal[
    "inherit",
    "merge if necessary",
    "merge always",
    "fast forward only",
    "rebase if necessary",
    "rebase always",
    "cherry pick",
]


def _ssh_key(line: str) -> str:
    """Gerrit takes more kinds of keys; people who have older ones give them to it themselves."""
    key = keys.parse(line)
    return f"{key.recipient} {key.comment}".rstrip()


SshKeys = tuple[Annotated[str, AfterValidator(_ssh_key)], ...]


class Person(Typed):
    """Somebody with an account, made if it is not there; name and address are then the person's own to change."""

    full_name: Line = ""
    email: str = Field(default="", pattern=r"^([^\s@]+@[^\s@]+)?$")
    ssh_keys: SshKeys = ()
    """Added where they are missing; those that people give Gerrit themselves stay."""


class Bot(Typed):
    """A program's account, in the group Service Users."""

    full_name: Line = ""
    ssh_keys: SshKeys = ()
    """All that it has: others are taken away."""
    token: str = ""
    """Name of the secret whose value it logs in with by https."""


class Group(Typed):
    """A group and all that it has."""

    description: Line = ""
    owner: str = words.ADMINISTRATORS
    """The group whose members may change it."""
    members: tuple[str, ...] = ()
    """People, admins and bots by name; `@admins` are all of admins.toml."""
    includes: tuple[str, ...] = ()
    """Groups whose members are its members."""
    visible: bool = False
    """To everybody, not only to its members."""


class Label(Typed):
    """A label that reviewers vote with."""

    values: dict[str, Line] = Field(min_length=2)
    """What each vote means: `"-1" = "Fails", "0" = "No score", "+1" = "Works"`."""
    description: Line = ""
    function: Literal["NoBlock", "NoOp", "PatchSetLock", "MaxWithBlock", "MaxNoBlock", "AnyWithBlock"] = "NoBlock"
    """NoBlock leaves it to submit requirements; the last three are Gerrit's old way, and deprecated."""
    default: int = 0
    copy_condition: Line = ""
    branches: tuple[str, ...] = ()
    """Those that it is for; empty: all."""
    allow_post_submit: bool = True
    ignore_self_approval: bool = False
    can_override: bool = True
    """Whether projects below may have one of that name."""

    @property
    def votes(self) -> frozenset[int]:
        return frozenset(int(vote) for vote in self.values)

    @model_validator(mode="after")
    def _numbers(self) -> "Label":
        for vote in self.values:
            if not vote.strip().lstrip("+-").isdigit():
                raise ValueError(f'values: {vote!r} is no number, like "-1" or "+2"')
        if 0 not in self.votes or self.default not in self.votes or len(self.votes) < len(self.values):
            raise ValueError("values: each number once, 0 and the default among them")
        return self


class SubmitRequirement(Typed):
    """What a change has to fulfil before it can be submitted; expressions as Gerrit's documentation has them."""

    description: Line = ""
    applicable_if: Line = ""
    submittable_if: Line = Field(min_length=1)
    override_if: Line = ""
    override_in_children: bool = False


class Project(Typed):
    """A project; what is not here it inherits."""

    parent: str = words.ALL_PROJECTS
    description: Line = ""
    state: Literal["active", "read only", "hidden"] = "active"
    submit_type: SubmitType = "inherit"
    options: dict[str, bool | int | str] = {}
    """Others by their name in project.config, like "receive.requireChangeId"."""
    access: dict[str, dict[str, tuple[str, ...]]] = {}
    """Rules by pattern of refs and permission, as project.config has them without the word `group`:
    `[block|deny] [+force] [-1..+1] GROUP`; under `exclusive`, the permissions that are not inherited."""
    capabilities: dict[str, tuple[str, ...]] = {}
    """Rules by global capability; of All-Projects alone."""
    labels: dict[str, Label] = {}
    submit_requirements: dict[str, SubmitRequirement] = {}
    permissions_only: bool = False
    """Of a new one: without code, for others to inherit from."""
    default_branch: str = Field(default="main", pattern=r"^[A-Za-z0-9][\w./-]*$")
    """Of a new one: what HEAD is."""
    initial_commit: bool = False
    """Of a new one: an empty first commit. Without, somebody with the right to pushes the first."""


class ProjectSet(Project):
    """Projects that are alike."""

    names: tuple[str, ...] = ()
    file: str = ""
    """One name a line, beside gerrit.toml; # begins a comment."""

    def project(self) -> Project:
        return Project.model_validate(self.model_dump(exclude={"names", "file"}, exclude_unset=True))


class Expectation(Typed):
    """A permission that must come out so, whatever rules it is made of."""

    account: str = ""
    group: str = ""
    """Asked for a member of it."""
    project: str
    ref: str = "refs/heads/main"
    permission: str
    allowed: bool


class File(Typed):
    """gerrit.toml."""

    groups: dict[str, Group] = {}
    bots: dict[str, Bot] = {}
    projects: dict[str, Project] = {}
    sets: dict[str, ProjectSet] = {}
    expect: tuple[Expectation, ...] = ()


class People(Typed):
    """people.toml: who is no admin, and what admins.toml does not say of those who are."""

    people: dict[str, Person] = {}

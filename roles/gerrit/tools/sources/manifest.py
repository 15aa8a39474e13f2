"""A `repo` manifest, read as `repo` reads it: the projects that clients get once all includes and changes are made.

Format: docs/manifest-format.md of git-repo. `submanifest` is refused, what concerns only how clients work is skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from inventories.errors import InputError
from roles.gerrit.tools.sources import names
from roles.gerrit.tools.sources.elements import Element, Reader, elements, groups_of

DEFAULT, NOT_DEFAULT = "default", "notdefault"


@dataclass(frozen=True)
class Remote:
    """url: of the folder that its projects are in; revision: empty where it has none of its own."""

    name: str
    url: str
    revision: str


@dataclass(frozen=True)
class Project:
    """A repository that is checked out. url: without `.git`; depth: commits that are fetched, None: all; links: where
    files of it appear in the tree, by their path in it; where: its place in the manifest."""

    name: str
    path: str
    remote: str
    url: str
    revision: str
    groups: frozenset[str]
    depth: int | None
    upstream: str
    links: tuple[tuple[str, str], ...]
    where: str

    def is_in(self, selection: str = DEFAULT) -> bool:
        """Whether `repo init -g SELECTION` gets it: the last of its groups that is named decides; -GROUP leaves out."""
        mine = {"all", *self.groups} | (set() if NOT_DEFAULT in self.groups else {DEFAULT})
        chosen = False
        for one in selection.replace(",", " ").split():
            if one.removeprefix("-") in mine:
                chosen = not one.startswith("-")
        return chosen


@dataclass(frozen=True)
class Manifest:
    """superproject: a repository that clients may read instead of all others' refs; it has no path."""

    projects: tuple[Project, ...]
    remotes: dict[str, Remote]
    superproject: Project | None
    contact: str

    def of(self, selection: str) -> "Manifest":
        """What `repo init -g SELECTION` gets of it; `all`: everything."""
        return replace(self, projects=tuple(one for one in self.projects if one.is_in(selection)))


def read(reader: Reader, url: str, name: str = "default.xml") -> Manifest:
    """url: where clients get the manifest from. Raises InputError, which names file, element and line."""
    if why := names.address(url):
        raise InputError(name, "", f"the manifest's address {why}", "give the address that clients give `repo init`")
    made = _Reading(url)
    told = [*elements(reader, name)]
    for one in told:
        if one.tag == "remote":
            made.remote(one)
        elif one.tag == "submanifest":
            raise one.wrong("is not read", "audit that manifest by itself")
    for one in told:
        if one.tag == "default":
            made.default(one)
    for one in told:
        if act := _ACTS.get(one.tag):
            act(made, one)
    for one in told:
        if one.tag == "repo-hooks":
            made.hooks(one)
    projects = sorted(made.projects, key=lambda one: one.path)
    return Manifest(tuple(projects), made.remotes, made.superproject, made.contact)


@dataclass
class _Reading:
    url: str
    remotes: dict[str, Remote] = field(default_factory=dict)
    defaults: Element | None = None
    projects: list[Project] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    paths: dict[str, str] = field(default_factory=dict)
    superproject: Project | None = None
    contact: str = ""

    def remote(self, one: Element) -> None:
        name = one.need("name")
        fetch = one.need("fetch")
        try:
            url = names.resolved(fetch, self.url)
            why = names.address(url)
        except ValueError as error:
            why = f"is no address: {error}"
        if why:
            raise one.wrong(f"fetch of {name!r} {why}", "https://HOST/FOLDER, or .. from the manifest's own address")
        made = Remote(name, url, self._revision(one, one.get("revision")))
        if self.remotes.setdefault(name, made) != made:
            raise one.wrong(f"{name!r} is there already, with other attributes", "give one of them another name")

    def default(self, one: Element) -> None:
        if self.defaults and one.attributes and one.attributes != self.defaults.attributes:
            first = f"{self.defaults.file}, line {self.defaults.line}"
            raise one.wrong(f"differs from the one in {first}", "leave one of them")
        self._remote(one)
        self._revision(one, one.get("revision"))
        self.defaults = self.defaults or one

    def project(self, one: Element) -> None:
        for made in self._projects(one, None, one.groups):
            self._place(one, made)
            self.projects.append(made)
            self.known.add(made.name)

    def extend(self, one: Element) -> None:
        name = self._known(one)
        path, to = one.get("path").rstrip("/"), one.get("dest-path").rstrip("/")
        mine = [each for each in self.projects if each.name == name and path in ("", each.path)]
        if to and len(mine) > 1:
            raise one.wrong(f"moves {len(mine)} projects {name!r} to one path", "say which by path=")
        for each in mine:
            self._base(one, each)
            changed = replace(each, groups=each.groups | one.groups | groups_of(one.get("groups")))
            changed = replace(changed, links=(*each.links, *_links(one)))
            if revision := self._revision(one, one.get("revision")):
                changed = replace(changed, revision=revision)
            if upstream := self._revision(one, one.get("upstream")):
                changed = replace(changed, upstream=upstream)
            if remote := self._remote(one):
                changed = replace(changed, remote=remote.name, url=f"{remote.url}/{name}")
            if to:
                del self.paths[each.path]
                changed = replace(changed, path=self._path(one, to, "dest-path"))
                self._place(one, changed)
            self.projects[self.projects.index(each)] = changed

    def remove(self, one: Element) -> None:
        name, path = one.get("name"), one.get("path").rstrip("/")
        if not name and not path:
            raise one.wrong("has neither `name` nor `path`", "say which project goes")
        gone = [each for each in self.projects if name in ("", each.name) and path in ("", each.path)]
        if not gone and not one.is_set("optional"):
            what = " at ".join(repr(word) for word in (name, path) if word)
            raise one.wrong(f"there is no project {what} before it", 'mend it, take it out, or add optional="true"')
        for each in gone:
            self._base(one, each)
            del self.paths[each.path]
            self.projects.remove(each)
        self.known -= {each.name for each in gone if not path}

    def super(self, one: Element) -> None:
        if self.superproject:
            raise one.wrong("is the second one", f"leave one: {self.superproject.where} has another")
        [self.superproject] = self._projects(one, None, frozenset())
        self.superproject = replace(self.superproject, path="", groups=frozenset())

    def contacts(self, one: Element) -> None:
        self.contact = one.need("bugurl")

    def hooks(self, one: Element) -> None:
        name = one.need("in-project")
        if name in self.known and len([each for each in self.projects if each.name == name]) != 1:
            raise one.wrong(f"{name!r} is not one project", "name a project that is there once")

    def _projects(self, one: Element, parent: Project | None, groups: frozenset[str]) -> Iterator[Project]:
        """It, and those inside of it."""
        name = one.need("name")
        if why := names.local_path(name):
            raise one.wrong(f"name {name!r} {why}", "give the name that the server knows it by")
        name = name.rstrip("/")
        path = self._path(one, one.get("path"), "path") or name
        if parent:
            name, path = f"{parent.name}/{name}", f"{parent.path}/{path}"
        remote = self._remote(one) or (self._remote(self.defaults) if self.defaults else None)
        if not remote:
            raise one.wrong(f"{name!r} has no remote", "give it one, or a <default>")
        default = self.defaults.get("revision") if self.defaults else ""
        revision = self._revision(one, one.get("revision")) or remote.revision or default
        if not revision:
            raise one.wrong(f"{name!r} has no revision", "give one to it, to its remote or to <default>")
        upstream = one.get("upstream") or (self.defaults.get("upstream") if self.defaults else "")
        mine = groups | groups_of(one.get("groups")) | {"all", f"name:{name}", f"path:{path}"}
        made = Project(
            name=name,
            path=path,
            remote=remote.name,
            url=f"{remote.url}/{name}",
            revision=revision,
            groups=mine,
            depth=_depth(one),
            upstream=self._revision(one, upstream),
            links=tuple(_links(one)),
            where=f"{one.file}, line {one.line}",
        )
        yield made
        for inner in one.inside:
            if inner.tag == "project":
                yield from self._projects(inner, made, frozenset())

    def _remote(self, one: Element) -> Remote | None:
        if not (name := one.get("remote")):
            return None
        if name not in self.remotes:
            raise one.wrong(f"remote {name!r} is not there", f"known are {', '.join(sorted(self.remotes)) or 'none'}")
        return self.remotes[name]

    def _revision(self, one: Element, text: str) -> str:
        if text and (why := names.revision(text)):
            raise one.wrong(f"revision {text!r} {why}", "name a branch, a tag or a commit")
        return text

    def _path(self, one: Element, text: str, attribute: str) -> str:
        if text and (why := names.local_path(text, may_be_top=True)):
            raise one.wrong(f"{attribute} {text!r} {why}", "give a path below the client's folder")
        return text.rstrip("/")

    def _place(self, one: Element, made: Project) -> None:
        if first := self.paths.get(made.path):
            raise one.wrong(f"path {made.path!r} is taken by the project of {first}", "give one of them another path")
        self.paths[made.path] = made.where

    def _known(self, one: Element) -> str:
        name = one.need("name")
        if name not in self.known:
            raise one.wrong(f"there is no project {name!r} before it", "mend the name, or move it below the project")
        return name

    def _base(self, one: Element, each: Project) -> None:
        if (base := one.get("base-rev")) and base != each.revision:
            found = f"{each.name!r} is at {each.revision!r}"
            raise one.wrong(f"base-rev is {base!r}, but {found}", "rebase what is changed here, and mend base-rev")


_ACTS = {
    "project": _Reading.project,
    "extend-project": _Reading.extend,
    "remove-project": _Reading.remove,
    "superproject": _Reading.super,
    "contactinfo": _Reading.contacts,
}


def _depth(one: Element) -> int | None:
    if not (text := one.get("clone-depth")):
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise one.wrong(f"clone-depth {text!r} is no number above 0", "say how many commits are fetched")
    return int(text)


def _links(one: Element) -> Iterator[tuple[str, str]]:
    for inner in one.inside:
        if inner.tag in ("linkfile", "copyfile"):
            source, target = inner.need("src"), inner.need("dest")
            for attribute, text in (("src", source), ("dest", target)):
                may_be_top = attribute == "src" and inner.tag == "linkfile"
                if why := names.local_path(text, may_be_top=may_be_top):
                    raise inner.wrong(f"{attribute} {text!r} {why}", "give a path inside of the tree")
            yield source, target

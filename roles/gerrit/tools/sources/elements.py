"""The XML of a `repo` manifest, with all that it includes: elements that know their file and line.

Files are read by expat without document types: there are no entities, so nothing expands and nothing else is opened.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.parsers import expat

from backup.sizes import clean
from inventories.errors import InputError
from roles.gerrit.tools.sources.names import local_path

Reader = Callable[[str], bytes]
"""Content of a file by its name below the manifest repository's root; raises OSError."""
LARGEST = 16 << 20
"""Bytes of a file: the largest of AOSP's has a fiftieth of it."""
FILES = 200
"""Including: what includes twice what includes twice grows fast."""
DEPTH = 16
GIT_TIMEOUT_S = 60


@dataclass(frozen=True)
class Element:
    """One of a manifest. groups: also those of the includes that led to it."""

    tag: str
    attributes: Mapping[str, str]
    file: str
    line: int
    inside: list["Element"] = field(default_factory=list)
    groups: frozenset[str] = frozenset()

    def get(self, name: str) -> str:
        """Empty where it is not given."""
        return self.attributes.get(name, "")

    def need(self, name: str) -> str:
        """Raises InputError where it is not given."""
        if not (value := self.get(name)):
            raise self.wrong(f"has no `{name}`", f'add {name}="..."')
        return value

    def is_set(self, name: str) -> bool:
        """As `repo` reads yes and no; anything else is no."""
        return self.get(name).lower() in ("yes", "true", "1")

    def wrong(self, problem: str, hint: str) -> InputError:
        return wrong(self.file, self.line, f"<{self.tag}>", problem, hint)


def wrong(file: str, line: int, what: str, problem: str, hint: str) -> InputError:
    """What a manifest says is made fit for a terminal."""
    where = ", ".join(filter(None, (what, f"line {line}" if line else "")))
    return InputError(clean(file), clean(where), clean(problem), hint)


def of_folder(folder: Path) -> Reader:
    """A checkout of a manifest repository; links are not followed out of it."""

    def read(name: str) -> bytes:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise FileNotFoundError(f"{name} is a link that leads out of {folder}")
        return path.read_bytes()

    return read


def of_commit(repository: Path, commit: str) -> Reader:
    """A commit of a manifest repository on this machine."""

    def read(name: str) -> bytes:
        words = ["git", f"--git-dir={repository}", "cat-file", "blob", f"{commit}:{name}"]
        done = subprocess.run(words, capture_output=True, check=False, timeout=GIT_TIMEOUT_S)
        if done.returncode:
            raise FileNotFoundError(f"{commit}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    return read


def groups_of(text: str) -> frozenset[str]:
    """Separated by commas or blanks."""
    return frozenset(text.replace(",", " ").split())


def elements(read: Reader, name: str) -> Iterator[Element]:
    """All that a manifest says, in its order; an include is exchanged by what it includes. Raises InputError."""
    yield from _Includes(read).of(name, 0, "", ())


@dataclass
class _Includes:
    read: Reader
    files: int = 0

    def of(self, name: str, line: int, by: str, within: tuple[str, ...]) -> Iterator[Element]:
        """by: the file whose line includes it; within: all files that lead to it."""
        if name in within:
            raise wrong(by, line, "<include>", f"{' -> '.join((*within, name))} is a circle", "take one include out")
        self.files += 1
        if self.files > FILES or len(within) > DEPTH:
            raise wrong(by, line, "<include>", f"more than {FILES} files, or {DEPTH} deep", "include each file once")
        try:
            content = self.read(name)
        except OSError as error:
            problem = f"{name} cannot be read: {error}"
            raise wrong(
                by or name, line, "<include>" if by else "", problem, "add the file, or mend its name"
            ) from None
        for one in _parsed(name, content):
            if one.tag != "include":
                yield one
                continue
            included = one.need("name")
            if why := local_path(included):
                raise one.wrong(f"name {included!r}: {why}", "name a file of the manifest repository, from its root")
            for inner in self.of(included, one.line, name, (*within, name)):
                yield _inherited(inner, one)


def _inherited(inner: Element, include: Element) -> Element:
    """A revision goes to projects that have no such attribute, groups are added to projects' own."""
    attributes = dict(inner.attributes)
    if inner.tag == "project" and "revision" not in attributes and include.get("revision"):
        attributes["revision"] = include.get("revision")
    groups = inner.groups
    if inner.tag in ("project", "extend-project"):
        groups |= groups_of(include.get("groups"))
    return replace(inner, attributes=attributes, groups=groups)


def _parsed(file: str, content: bytes) -> list[Element]:
    """What is directly in a file's <manifest>."""
    if len(content) > LARGEST:
        raise wrong(file, 0, "", f"has {len(content):,} bytes, more than {LARGEST:,}", "is it a manifest?")
    parser = expat.ParserCreate()
    open_: list[Element] = []
    roots: list[Element] = []

    def refuse(*_: object) -> None:
        hint = "take the <!DOCTYPE ...> out: `repo` needs none"
        raise wrong(file, parser.CurrentLineNumber, "<!DOCTYPE>", "document types and entities are not read", hint)

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(open_) > DEPTH:
            raise wrong(file, parser.CurrentLineNumber, f"<{tag}>", f"more than {DEPTH} deep", "is it a manifest?")
        made = Element(tag, attributes, file, parser.CurrentLineNumber)
        (open_[-1].inside if open_ else roots).append(made)
        open_.append(made)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_.pop()
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise wrong(file, parser.CurrentLineNumber, "", f"is no XML: {error}", "mend the file") from None
    if roots[0].tag != "manifest":
        raise wrong(file, roots[0].line, f"<{roots[0].tag}>", "found where <manifest> is expected", "is it a manifest?")
    return roots[0].inside

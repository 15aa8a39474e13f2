"""Debian's packages for hosts without network: found, fetched and checked by apt itself, in a root of its own.

Nothing of this machine's apt is used but its programs, its proxy (`http_proxy`) and Debian's keys. What a stock
installation has counts as installed in version 0: it is brought only where something else asks for a version of it. So
the packages fit an installation of any point release, and its kernel, say, is not among them.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from bundle.lock import Package
from bundle.programs import ProgramError, output
from inventories.errors import InputError
from inventories.files import sha256

SUITE, ARCHITECTURE = "trixie", "amd64"
ARCHIVES = (("debian", SUITE), ("debian", f"{SUITE}-updates"), ("debian-security", f"{SUITE}-security"))
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
STOCK = ("?essential", "~prequired")
"""What every installation of Debian has, however it was made: patterns of apt-patterns(7). apt, and the sqv by which it
verifies, are of it."""
URI = re.compile(r"^'(\S+)' (\S+) (\d+) SHA256:([0-9a-f]{64})$", re.MULTILINE)
"""A line of `apt-get --print-uris`: where from, NAME_VERSION_ARCHITECTURE.deb with an encoded epoch, size, hash."""


class Root:
    """apt with lists and a status of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str, status: str = "status") -> str:
        """Its output. Raises ProgramError."""
        environment = {"APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C.UTF-8"}
        command = [*words[:1], "-o", f"Dir::State::status={self.folder / status}", *words[1:]]
        return output(*command, hint="a bundle is made on Debian", cwd=self.folder, environment=environment)

    def print_uris(self, *words: str, status: str = "status") -> list[tuple[str, Package]]:
        """Packages that `apt-get WORDS` would fetch, each with where from. Raises ProgramError."""
        told = self.run("apt-get", "--print-uris", "-qq", *words, status=status)
        found = []
        for uri, name, _, digest in URI.findall(told):
            package, version, architecture = unquote(name).removesuffix(".deb").split("_")
            found.append((uri, Package(package, version, architecture, digest)))
        return found


@contextmanager
def root(mirror: str) -> Iterator[Root]:
    """As long as it lasts, with fresh lists of a mirror. Raises ProgramError, InputError where Debian's keys lack."""
    if not KEYRING.exists():
        raise InputError(
            KEYRING, "", "is not there", "install debian-archive-keyring: by it Debian's packages are known"
        )
    with TemporaryDirectory(prefix="mainstay-apt-") as name:
        folder = Path(name)
        for one in ("lists/partial", "archives/partial", "state"):
            (folder / one).mkdir(parents=True)
        (folder / "apt.conf").write_text(_configuration(folder))
        lines = [f"deb [signed-by={KEYRING}] {mirror}/{archive} {suite} main\n" for archive, suite in ARCHIVES]
        (folder / "sources.list").write_text("".join(lines))
        (folder / "empty").touch()
        made = Root(folder)
        made.run("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update", status="empty")
        (folder / "status").write_text(_stock(made))
        yield made


def resolve(apt: Root, names: Iterable[str], *, stock: bool = False) -> list[Package]:
    """These packages, and all that they need besides a stock installation; stock: with that. Raises ProgramError."""
    words = ("install", *sorted(names), *(STOCK if stock else ()))
    return sorted(package for _, package in apt.print_uris(*words, status="empty" if stock else "status"))


def fetch(mirror: str, packages: Sequence[Package], cache: Path, into: Path) -> int:
    """Puts the files of packages into a folder; returns how many came from the mirror, the others being in the cache.

    Raises ProgramError, also when the mirror has one no longer.
    """
    cache.mkdir(parents=True, exist_ok=True)
    missing = [one for one in packages if not _cached(cache, one)]
    if missing:
        with root(mirror) as apt:
            _download(apt, missing, cache)
    for one in packages:
        shutil.copyfile(cache / f"{one.sha256}.deb", into / one.file)
    return len(missing)


def _cached(cache: Path, package: Package) -> bool:
    path = cache / f"{package.sha256}.deb"
    return path.exists() and sha256(path) == package.sha256


def _download(apt: Root, packages: Sequence[Package], cache: Path) -> None:
    wanted = [f"{one.name}:{one.architecture}={one.version}" for one in packages if one.architecture != "all"]
    wanted += [f"{one.name}={one.version}" for one in packages if one.architecture == "all"]
    hint = "lock what it has now: `mainstay bundle lock`"
    try:
        apt.run("apt-get", "-qq", "download", *wanted)
    except ProgramError as error:
        raise ProgramError(f"{error}\n  If the mirror has a version no longer, {hint}") from error
    there = {sha256(path): path for path in apt.folder.glob("*.deb")}
    for one in packages:
        if one.sha256 not in there:
            raise ProgramError(f"{one.name} {one.version}: the mirror has another file than the lock says; {hint}")
        part = cache / f".{one.sha256}.{os.getpid()}"
        shutil.move(there[one.sha256], part)
        part.rename(cache / f"{one.sha256}.deb")


def _stock(apt: Root) -> str:
    """A dpkg status with all that a stock installation has, in version 0, needing nothing."""
    names = [one.name for _, one in apt.print_uris("install", *STOCK, status="empty")]
    shown = apt.run("apt-cache", "show", "--no-all-versions", *names, status="empty")
    stanzas = []
    for paragraph in shown.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        kept = [
            f"{key}: {fields[key]}" for key in ("Package", "Architecture", "Multi-Arch", "Provides") if key in fields
        ]
        stanzas.append("\n".join([*kept, "Status: install ok installed", "Version: 0"]))
    return "\n\n".join(stanzas) + "\n"


def _configuration(folder: Path) -> str:
    values = {
        "Dir": folder,
        "Dir::State": folder / "state",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder,
        "Dir::Etc": folder,
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::Parts": "/dev/null",
        "APT::Architecture": ARCHITECTURE,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::ForceHash": "SHA256",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    lines = [f'{name} "{value}";\n' for name, value in values.items()]
    return "".join([*lines, f'APT::Architectures {{ "{ARCHITECTURE}"; }};\n'])

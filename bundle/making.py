"""Makes a bundle: the same bytes from the same commit and lock, whoever makes it and when."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from bundle import apt, contents, iso, lock, needs, repository, source, wheels
from bundle import key as keys
from bundle.contents import About
from inventories.errors import InputError
from inventories.files import sha256
from inventories.inventory import CLONE, LoadedSite

Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """A bundle, and what it is known by."""

    path: Path
    about: About
    fingerprint: str
    """Of the key that signed it."""
    digest: str
    """SHA-256 of the image, or of a folder's SHA256SUMS, which is of all else."""
    packages: int
    wheels: int
    size: int
    """Of all files, in bytes."""


def lock_packages(site: LoadedSite, role: str) -> list[str]:
    """Brings the site's lock up to what the mirror has now; returns what changed. Raises ProgramError, InputError."""
    needs.hosts(site, role)
    wanted, path = needs.packages(site, role), site.files / lock.FILE
    with apt.root(site.fleet.bundle.mirror) as one:
        found = lock.locked(wanted, apt.resolve(one, wanted, stock=site.fleet.bundle.stock))
    before = lock.read(path)
    lock.write(path, {**before, role: found})
    return lock.differences(before[role].packages if role in before else (), found.packages)


def locked(site: LoadedSite, role: str) -> lock.Locked:
    """What the site's lock has for a role. Raises InputError where it lacks any of what the role asks for now."""
    path = site.files / lock.FILE
    found = lock.read(path).get(role)
    hint = f"`mainstay bundle lock --for {role}`, and commit it"
    if found is None:
        raise InputError(path, role, "is not locked", hint)
    if missing := {*needs.packages(site, role)} - {*found.wanted}:
        raise InputError(path, role, f"does not fit: the role asks for {', '.join(sorted(missing))}", hint)
    return found


def make(site: LoadedSite, role: str, output: Path | None, say: Say) -> Made:
    """output: a folder that is not there yet, or an image when it ends in .iso.

    Raises InputError, ProgramError, FileExistsError.
    """
    hosts, commit, have = needs.hosts(site, role), source.head(site), locked(site, role)
    signer = keys.Signer(site)
    path = (output or Path(f"{site.name}-{role}-{commit.id[:12]}")).absolute()
    if path.exists():
        raise FileExistsError(errno.EEXIST, "is there already", str(path))
    about = About(
        site=site.name,
        role=role,
        hosts=" ".join(hosts),
        inventory=str(site.path.with_suffix(".py").relative_to(CLONE)),
        files=str(site.files.relative_to(CLONE)),
        commit=commit.id,
        time=str(commit.time),
    )
    work = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        folder = work / "bundle"
        _fill(folder, site, have, about, signer, commit, say)
        made = folder
        if path.suffix == iso.SUFFIX:
            say("writing the image")
            made = work / path.name
            iso.write(folder, made, f"{site.name}-{role}", commit.time)
        result = Made(
            path=path,
            about=about,
            fingerprint=signer.key.fingerprint,
            digest=sha256(made / contents.SUMS if made.is_dir() else made),
            packages=len(have.packages),
            wheels=len(list((folder / contents.WHEELS).iterdir())),
            size=sum((folder / one).stat().st_size for one in contents.files(folder)),
        )
        made.rename(path)
    finally:
        shutil.rmtree(work)
    return result


def _fill(
    folder: Path,
    site: LoadedSite,
    have: lock.Locked,
    about: About,
    signer: keys.Signer,
    commit: source.Commit,
    say: Say,
) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mainstay/bundle"
    debian, python = folder / contents.APT, folder / contents.WHEELS
    debian.mkdir(parents=True)
    python.mkdir()
    say(f"{len(have.packages)} Debian packages")
    apt.fetch(site.fleet.bundle.mirror, have.packages, cache, debian)
    label = f"{about.site} {about.role}"
    repository.write(debian, have.packages, label, commit.time, lambda data: signer.sign(data, commit.time))
    say("Python packages")
    wheels.fetch(CLONE, python, folder / wheels.REQUIREMENTS)
    say(f"the repository at {commit.id[:12]}")
    (folder / source.FILE).write_bytes(source.archive(site, commit))
    (folder / lock.FILE).write_text(lock.text({about.role: have}))
    (folder / keys.FILE).write_bytes(signer.keyring)
    (folder / contents.ABOUT).write_text(about.text())
    for program in sorted(contents.MEDIUM.iterdir()):
        shutil.copyfile(program, folder / program.name)
    hashes = {name: sha256(folder / name) for name in contents.files(folder)}
    sums = contents.sums(hashes).encode()
    (folder / contents.SUMS).write_bytes(sums)
    (folder / contents.SIGNATURE).write_bytes(signer.sign(sums, commit.time))
    _settle(folder, commit.time)


def _settle(folder: Path, when: int) -> None:
    """The same modes and times everywhere."""
    programs = {one.name for one in contents.MEDIUM.iterdir()}
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o755 if path.is_dir() or (path.name in programs and path.parent == folder) else 0o644)
        os.utime(path, (when, when))

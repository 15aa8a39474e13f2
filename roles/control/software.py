"""This project as the control host runs it: two archives, made where the deploy runs; the host asks no registry.

packages.tar.gz   the Python packages that uv.lock pins, by their hashes, for the host's Python
project.tar.gz    the project's own files, as they are tracked here, and the site's inventory

The same sources make the same bytes, on any machine: what did not change is not sent again.

The control host itself, which drills its own data set on another host, gives on what it was given.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from inventories.errors import InputError
from inventories.inventory import CLONE, LoadedSite

FOLDER = "/var/lib/mainstay/control"
"""Where the archives lie on the host; its mainstay-control-software.service unpacks them into /opt/mainstay."""
PACKAGES, PROJECT = Path(FOLDER, "packages.tar.gz"), Path(FOLDER, "project.tar.gz")
PYTHON, PLATFORM = "3.13", "x86_64-manylinux_2_28"
"""Debian 13's, and what its C library can load."""
SOURCES = ("backup", "cli", "cloud", "config.py", "deploys", "docs/runbooks", "inventories", "roles")
"""Of the project: what `mainstay` runs outside the lab, and the runbooks that it shows."""
EXPORT = ("export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--quiet")
INSTALL = (
    *("pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--no-deps"),
    *("--python-version", PYTHON, "--python-platform", PLATFORM),
)


def archives(site: LoadedSite) -> dict[str, bytes]:
    """Both archives, by their path on the host. Raises InputError when the packages cannot be had."""
    return {str(PACKAGES): packages(), str(PROJECT): project(site)}


def _is_deployed() -> bool:
    """Whether this runs from such archives, and not from a clone."""
    return not (CLONE / "uv.lock").exists() and PROJECT.exists()


def packages() -> bytes:
    """The archive of the packages, from the cache when uv.lock is as it was."""
    if _is_deployed():
        return PACKAGES.read_bytes()
    lock = CLONE / "uv.lock"
    digest = hashlib.sha256(b"\0".join([lock.read_bytes(), *(word.encode() for word in (*EXPORT, *INSTALL))]))
    folder = _cache() / "packages"
    cached = folder / f"{digest.hexdigest()[:32]}.tar.gz"
    if not cached.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as made:
            target, wanted, archive = (Path(made, name) for name in ("packages", "requirements.txt", "archive"))
            _uv(*EXPORT, "--output-file", str(wanted))
            _uv(*INSTALL, "--target", str(target), "--requirement", str(wanted))
            archive.write_bytes(packed(_installed(target)))
            archive.replace(cached)
    return cached.read_bytes()


def project(site: LoadedSite) -> bytes:
    """The archive of the project's own files, with one inventory: the site's."""
    files = _unpacked(PROJECT) if _is_deployed() else _tracked()
    return packed(files | {f"inventories/{site.path.name}": site.path.read_bytes()})


def _tracked() -> dict[str, bytes]:
    """The files of this clone, by name, but for those of sites. Raises InputError where git cannot list them."""
    listed = subprocess.run(["git", "ls-files", "-z", *SOURCES], cwd=CLONE, capture_output=True, text=True, check=False)
    if listed.returncode:
        hint = "the control host gets what git tracks here: deploy it from a clone"
        raise InputError(CLONE, "", f"git cannot list its files: {listed.stderr.strip()}", hint)
    names = [name for name in listed.stdout.split("\0") if name and not _of_a_site(name) and (CLONE / name).is_file()]
    return {name: (CLONE / name).read_bytes() for name in names}


def _unpacked(archive: Path) -> dict[str, bytes]:
    """The files in an archive, by name, but for those of sites."""
    with tarfile.open(archive) as tar:
        there = ((one.name, tar.extractfile(one)) for one in tar)
        return {name: content.read() for name, content in there if content and not _of_a_site(name)}


def _of_a_site(name: str) -> bool:
    """An inventory, or what lies in its folder."""
    path = Path(name)
    return path.parts[0] == "inventories" and (len(path.parts) > 2 or path.suffix == ".toml")


def _installed(target: Path) -> Mapping[str, bytes]:
    """What `uv pip install --target` made, but for programs and records, which name this machine."""
    found = {}
    for path in target.rglob("*"):
        name = str(path.relative_to(target))
        if path.is_file() and path.parts[len(target.parts)] != "bin" and path.name not in ("RECORD", ".lock"):
            found[name] = path.read_bytes()
    return found


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz of these files that depends on nothing else: no times, owners or order."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _cache() -> Path:
    """As bin/setup has it, which puts uv there when there is none."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mainstay"


def uv() -> str:
    """The program, as bin/setup finds it."""
    return shutil.which("uv") or str(_cache() / "uv/bin/uv")


def _uv(*words: str) -> None:
    program = uv()
    try:
        done = subprocess.run([program, *words], cwd=CLONE, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(program, "", f"cannot be run: {error.strerror}", "bin/setup installs it") from None
    if done.returncode:
        hint = "the control host's packages come from the registry, once for each uv.lock: is it reached from here?"
        raise InputError(CLONE / "uv.lock", "", f"uv {words[0]}: {done.stderr.strip()}", hint)

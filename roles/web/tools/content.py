"""A website as it was built, in a folder on this machine: what of it is published, and what is wrong with it."""

import gzip
import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from inventories.errors import InputError
from roles.web import links
from roles.web.archive import COMPRESSED, ERROR_PAGE, HIDDEN, MESSAGE, Site, digest, made_of

NEEDED = ("index.html", ERROR_PAGE)
NEVER_EMPTY = (".html", ".css", ".js", ".mjs", MESSAGE)
LEAST, MOST = 512, 16 << 20
"""Bytes of a file that is compressed: its whole content is in memory then."""
NAME_AT_MOST, PATH_AT_MOST = 200, 1000
"""Bytes: filesystems and requests have room for more endings, and for each byte encoded as three."""
ENTRIES = 100_000
MESSAGE_AT_MOST = 64 << 10
"""Bytes: every phone fetches it."""


@dataclass(frozen=True)
class File:
    """As a manifest has it. size in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Content:
    """files by path; folders: where their bytes lie, each below one of these by its path."""

    files: Mapping[str, File]
    folders: Mapping[Path, Collection[str]]


def digest_of(sums: Mapping[str, str]) -> str:
    """Of a whole site, by the SHA-256 of each path: the same for the same files."""
    return digest("".join(f"{one}  {path}\n" for path, one in sorted(sums.items())).encode())


def read(folder: Path, scratch: Path) -> Content:
    """All files of a folder, and what is compressed of them, which is written below scratch. Raises InputError."""
    paths = [path for path, _ in _walk(folder, "", [])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(partial(_read, folder, scratch), paths))
    files = {file.path: file for file, _ in found}
    small = {file.path: file for _, packed in found for file in packed}
    return Content({**files, **small}, {folder: files.keys(), scratch: small.keys()})


def _read(folder: Path, scratch: Path, path: str) -> tuple[File, list[File]]:
    """A file, and what is compressed of it: the same bytes for the same content."""
    with (folder / path).open("rb") as file:
        size, sha256 = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
    small: list[File] = []
    if path.rpartition(".")[2] in COMPRESSED and LEAST <= size <= MOST:
        packed = gzip.compress((folder / path).read_bytes(), 9, mtime=0)
        if len(packed) < size:
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / f"{path}.gz").write_bytes(packed)
            small.append(_file(f"{path}.gz", packed))
    return File(path, size, sha256), small


def read_message(file: Path, scratch: Path) -> Content:
    """The message that phones fetch, alone. Raises InputError."""
    content = file.read_bytes()
    if not content.strip() or len(content) > MESSAGE_AT_MOST:
        raise InputError(file, "", f"{len(content):,} bytes are no message for phones", f"1 to {MESSAGE_AT_MOST:,}")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise InputError(file, f"byte {error.start}", "is not UTF-8", "phones show it as text") from None
    (scratch / MESSAGE).parent.mkdir(parents=True, exist_ok=True)
    (scratch / MESSAGE).write_bytes(content)
    return Content({MESSAGE: _file(MESSAGE, content)}, {scratch: [MESSAGE]})


def _file(path: str, content: bytes) -> File:
    return File(path, len(content), digest(content))


def problems(folder: Path, places: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Why a folder is not publishable; nothing when it is. places: redirects by their old path; names: the site's."""
    found: list[str] = []
    sizes = dict(_walk(folder, "", found))
    found += [f"{name}: is not there" for name in NEEDED if name not in sizes]
    found += [f"{path}: is empty" for path, size in sizes.items() if not size and path.endswith(NEVER_EMPTY)]
    found += [
        f"{path}: would be sent in the place of {made_of(path)}: compressed files are made when it is published"
        for path in sizes
        if made_of(path) in sizes
    ]
    if sizes.get(MESSAGE, 0) > MESSAGE_AT_MOST:
        found.append(f"{MESSAGE}: {sizes[MESSAGE]:,} bytes: every phone fetches it, so at most {MESSAGE_AT_MOST:,}")
    site = Site(sizes, places)
    found += _dead(folder, site, names)
    for old, new in places.items():
        if new.startswith("/") and not site.has(unquote(new.partition("#")[0].partition("?")[0])):
            found.append(f"redirects: {old} leads to {new}, which is not there")
    for page in site.pages:
        if site.redirects(site.address(page)):
            found.append(f"{page}: nobody can see it, as {site.address(page)} redirects")
    return found


def _dead(folder: Path, site: Site, names: Collection[str]) -> Iterator[str]:
    """Links to what is not there."""
    own = [ERROR_PAGE] if ERROR_PAGE in site.files else []
    styles = [path for path in site.files - site.hidden if path.endswith(".css")]
    for path in sorted({*site.pages, *own, *styles}):
        text = (folder / path).read_text(errors="replace")
        if path in styles:
            linked = links.of_styles(text, f"/{path}", names)
        else:
            linked = links.links(text, site.address(path), names)
        for link in sorted({*linked}):
            if not site.has(unquote(link)):
                yield f"{path}: links to {link}, which is not there"


def _too_long(path: str, name: str) -> str:
    for what, text, most in (("name", name, NAME_AT_MOST), ("path", path, PATH_AT_MOST)):
        if (size := len(os.fsencode(text))) > most:
            return f"{path[:60]!r}...: its {what} has {size:,} bytes, at most {most:,} have an address"
    return ""


def _walk(folder: Path, at: str, found: list[str]) -> Iterator[tuple[str, int]]:
    """Path and size of all files, following no link; what does not belong there is told. Raises InputError."""
    todo, count = [at], 0
    while todo:
        here = todo.pop()
        for entry in sorted(os.scandir(folder / here), key=lambda one: one.name):
            path = f"{here}/{entry.name}" if here else entry.name
            mode = entry.stat(follow_symlinks=False)
            is_folder = stat.S_ISDIR(mode.st_mode)
            count += 1
            if count > ENTRIES:
                raise InputError(
                    folder, "", f"more than {ENTRIES:,} files and folders", "is it the site that was built?"
                )
            if told := _too_long(path, entry.name):
                found.append(told)
            elif not path.isprintable():
                found.append(f"{path!r}: its name has what no address should")
            elif HIDDEN.search(f"/{path}/" if is_folder else f"/{path}"):
                found.append(f"{path}: begins with a dot, and only .well-known/ and .messages/ are published")
            elif entry.is_symlink():
                found.append(f"{path}: is a symbolic link: publish what it leads to")
            elif is_folder:
                todo.append(path)
            elif not stat.S_ISREG(mode.st_mode):
                found.append(f"{path}: is neither file nor folder")
            else:
                yield path, mode.st_size

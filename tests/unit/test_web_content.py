"""Is a website publishable? What is wrong with a folder is named, and nothing of it is followed out of it."""

import gzip
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from inventories.errors import InputError
from lab import sample
from roles.web.archive import MESSAGE, made_of
from roles.web.links import links, of_styles
from roles.web.tools.content import ENTRIES, MOST, digest_of, problems, read, read_message

PLACES = {"/get": "/docs/install", "/get/": "/docs/install", "/releases": "https://release.example.org/"}
NAMES = {"www.example.org"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sample.website(tmp_path / "site")
    return tmp_path / "site"


def page(folder: Path, body: str, name: str = "new.html") -> None:
    (folder / name).write_text(f"<!doctype html><title>x</title>{body}")


def wrong(folder: Path) -> list[str]:
    return problems(folder, PLACES, NAMES)


def test_a_site_as_jekyll_builds_it_is_publishable(folder: Path) -> None:
    page(
        folder, '<a href="/docs">x</a><a href="/docs/#top">x</a><a href="get">x</a><a href="mailto:x@example.org">x</a>'
    )
    assert wrong(folder) == []


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no front page": (lambda at: (at / "index.html").unlink(), "index.html: is not there"),
    "no page for what is missing": (lambda at: (at / "404.html").unlink(), "404.html: is not there"),
    "an empty page": (lambda at: (at / "about.html").write_text(""), "about.html: is empty"),
    "a dead link": (lambda at: page(at, '<a href="docs/none">'), "new.html: links to /docs/none, which is not there"),
    "a dead link by the site's own name": (
        lambda at: page(at, '<a href="https://www.example.org/none">'),
        "new.html: links to /none, which is not there",
    ),
    "a dead image": (lambda at: page(at, '<img src="/x.png">'), "new.html: links to /x.png, which is not there"),
    "a dead font": (
        lambda at: (at / "assets/css/new.css").write_text("@font-face { src: url('../x.woff2') }"),
        "assets/css/new.css: links to /assets/x.woff2, which is not there",
    ),
    "a redirect to nowhere": (
        lambda at: (at / "docs/install.html").unlink(),
        "redirects: /get leads to /docs/install, which is not there",
    ),
    "a page behind a redirect": (
        lambda at: page(at, "x", "get.html"),
        "get.html: nobody can see it, as /get redirects",
    ),
    "a link out of it": (
        lambda at: (at / "passwd").symlink_to("/etc/passwd"),
        "passwd: is a symbolic link: publish what it leads to",
    ),
    "a linked folder": (
        lambda at: (at / "etc").symlink_to("/etc"),
        "etc: is a symbolic link: publish what it leads to",
    ),
    "a pipe": (lambda at: os.mkfifo(at / "pipe"), "pipe: is neither file nor folder"),
    "a hidden file": (
        lambda at: (at / "docs/.htaccess").write_text("x"),
        "docs/.htaccess: begins with a dot, and only .well-known/ and .messages/ are published",
    ),
    "a repository": (
        lambda at: (at / ".git").mkdir(),
        ".git: begins with a dot, and only .well-known/ and .messages/ are published",
    ),
    "a compressed copy": (
        lambda at: (at / "feed.xml.gz").write_bytes(b"x"),
        "feed.xml.gz: would be sent in the place of feed.xml: compressed files are made when it is published",
    ),
    "a device": (
        lambda at: os.mknod(at / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
        "null: is neither file nor folder",
    ),
    "a socket": (
        lambda at: socket.socket(socket.AF_UNIX).bind(str(at / "socket")),
        "socket: is neither file nor folder",
    ),
    "an enormous name": (
        lambda at: (at / f"{'x' * 251}.css").write_text("x"),
        f"'{'x' * 60}'...: its name has 255 bytes, at most 200 have an address",
    ),
    "a path without an end": (
        lambda at: (at / Path(*["x" * 200] * 6)).mkdir(parents=True),
        f"'{'x' * 60}'...: its path has 1,004 bytes, at most 1,000 have an address",
    ),
    "a name that goes back": (
        lambda at: (at / "..\n").write_text("x"),
        r"'..\n': its name has what no address should",
    ),
    "a name that is no text": (
        lambda at: (at / os.fsdecode(b"\xff.html")).write_text("x"),
        r"'\udcff.html': its name has what no address should",
    ),
    "a name that is none": (
        lambda at: (at / "a\nb").write_text("x"),
        r"'a\nb': its name has what no address should",
    ),
    "a long message": (
        lambda at: (at / MESSAGE).write_bytes(b"x" * 70_000),
        f"{MESSAGE}: 70,000 bytes: every phone fetches it, so at most 65,536",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_wrong_is_named_and_nothing_else(folder: Path, what: str) -> None:
    spoil, told = SPOILT[what]
    spoil(folder)
    assert told in wrong(folder)
    assert {line for line in wrong(folder) if line != told} <= {told.replace("/get leads", "/get/ leads")}


def test_too_many_files_are_no_website(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ENTRIES == 100_000
    monkeypatch.setattr("roles.web.tools.content.ENTRIES", 3)
    with pytest.raises(InputError, match="more than 3 files"):
        wrong(folder)


def test_text_is_compressed_beside_and_nothing_that_phones_read(folder: Path, tmp_path: Path) -> None:
    (folder / MESSAGE).write_text("long " * 1000)
    (folder / "assets/data.bin").write_bytes(bytes(5000))
    found = read(folder, tmp_path / "scratch")
    packed = [path for path in found.files if made_of(path)]
    assert packed == ["assets/css/style.css.gz"]
    made = (tmp_path / "scratch/assets/css/style.css.gz").read_bytes()
    assert made[4:8] == bytes(4), "the time would make each publication another"
    assert gzip.decompress(made) == (folder / "assets/css/style.css").read_bytes()
    assert found.files[packed[0]].size == len(made) < found.files["assets/css/style.css"].size
    again = read(folder, tmp_path / "again")
    assert again.files == found.files
    assert {path for paths in found.folders.values() for path in paths} == found.files.keys()


def test_what_would_grow_or_is_very_short_or_very_long_is_not_compressed(folder: Path, tmp_path: Path) -> None:
    (folder / "random.svg").write_bytes(os.urandom(5000))
    (folder / "short.svg").write_text("x" * 511)
    with (folder / "long.json").open("wb") as file:
        file.truncate(MOST + 1)
    found = read(folder, tmp_path / "scratch")
    assert {made_of(path) for path in found.files} == {"", "assets/css/style.css"}


def test_the_digest_is_of_paths_and_content() -> None:
    some = {"a": "1", "b": "2"}
    assert digest_of(some) == digest_of(dict(reversed(some.items()))) != digest_of({"a": "2", "b": "1"})


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff", bytes(70_000)])
def test_what_is_no_message_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "message").write_bytes(content)
    with pytest.raises(InputError):
        read_message(tmp_path / "message", tmp_path / "scratch")


def test_links_are_told_as_they_are_asked_for() -> None:
    text = '<a href="b c#x"><a href="//x.example.org/"><a href="http://[x"><a href="?q"><script src="/caf\u00e9.js">'
    assert list(links(text, "/docs/a")) == ["/docs/b%20c", "/docs/a", "/caf%C3%A9.js"]
    style = """a { b: url("x.png"), url('/y.png'), url( z.png ), url(data:image/png;base64,AA) }"""
    assert list(of_styles(style, "/css/s.css")) == ["/css/x.png", "/y.png", "/css/z.png"]

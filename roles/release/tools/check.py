"""A release as built and signed: is it publishable? Reads the release's folder and certificates, and nothing else.

    verdict = check(Path("out"), Path("inventories/prod/release-certificates"), against=None, hear=print)

Whether servers have room for it is asked of them when it is published: sizes are in the verdict.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from cryptography.x509 import Certificate

from inventories.errors import InputError
from roles.release.archive import CHANNELS, Offer
from roles.release.tools import offers as together
from roles.release.tools.layout import ANDROID, BUILD, Laid, Named, lay
from roles.release.tools.offers import Offered, Published
from roles.release.tools.ota import Examined, Package, examine, small, unreadable
from roles.release.tools.problems import Damaged, Problem, Unknown, shown
from roles.release.tools.signature import certificates as certificates_of

LINE_BYTES, CHANGELOG_BYTES = 256, 1 << 20


@dataclass(frozen=True)
class Progress:
    """How far a check is. Bytes; package: the path of the one that was just read on."""

    done: int
    total: int
    package: str


Hear = Callable[[Progress], None]


@dataclass(frozen=True)
class Verdict:
    """What is known of a release. All paths are below its folder."""

    folder: Path
    packages: tuple[Package, ...]
    offers: tuple[Offered, ...]
    problems: tuple[Problem, ...]
    unknowns: tuple[Unknown, ...]

    @property
    def publishable(self) -> bool:
        return not self.problems

    @property
    def size(self) -> int:
        """Bytes of all packages."""
        return sum(one.size for one in self.packages)


class _Ended(Exception):
    """The check was broken off."""


class _Told:
    """Counts what all workers have read, and ends them."""

    def __init__(self, total: int, hear: Hear) -> None:
        self.done, self.total, self.hear = 0, total, hear
        self.lock, self.ended = Lock(), Event()

    def read(self, package: str, count: int) -> None:
        if self.ended.is_set():
            raise _Ended
        with self.lock:
            self.done += count
            self.hear(Progress(self.done, self.total, package))


def check(folder: Path, certificates: Path, against: Published | None, hear: Hear) -> Verdict:
    """Checks all that can be checked without hosts. against: what channels offer now, None when that is not known;
    hear: told of progress, by one thread at a time.

    Raises InputError when the release's folder, or that of the certificates, is none.
    """
    if not folder.is_dir():
        raise InputError(folder, "", "is no folder", "name that of a release")
    if not certificates.is_dir():
        raise InputError(
            certificates, "", "is no folder", "put DEVICE.x509.pem of each device there, or name another one"
        )
    laid = lay(folder)
    trusted = certificates_of(certificates, {one.device for one in laid.packages if one.kind != "factory"})
    problems = laid.problems + [one for one in trusted.values() if isinstance(one, Problem)]
    examined = _examine(
        folder, laid, {name: one for name, one in trusted.items() if not isinstance(one, Problem)}, hear
    )
    packages = [one.package for one in examined if one.package]
    problems += [problem for one in examined for problem in one.problems]
    lines, wrong = _lines(folder, laid)
    offers = [*lines, *together.derive(packages, lines)]
    problems += [*wrong, *_changelogs(folder, laid), *together.problems(packages, offers, against or {})]
    told = [unknown for one in examined for unknown in one.unknowns]
    told += together.unknowns(packages, offers, against)
    return Verdict(
        folder,
        tuple(sorted(packages, key=lambda one: one.path)),
        tuple(sorted(offers, key=lambda one: one.path)),
        tuple(sorted(set(problems))),
        tuple(sorted(set(told))),
    )


def published(metadata: Path) -> Published:
    """What a checkout of the metadata repository says, `ota/DEVICE/DEVICE-CHANNEL` or `DEVICE/DEVICE-CHANNEL`.

    Raises InputError for a line that is none, and when there is not one.
    """
    root = metadata / "ota" if (metadata / "ota").is_dir() else metadata
    found = {}
    for path in sorted(root.glob("*/*-*")):
        device, _, channel = path.name.partition("-")
        if device != path.parent.name or channel not in CHANNELS:
            continue
        try:
            found[device, channel] = _line(path)
        except Damaged as error:
            raise InputError(path, error.field, f"found {error.found}", f"expected {error.expected}") from None
    if not found:
        raise InputError(metadata, "", "holds no DEVICE/DEVICE-CHANNEL", "name a checkout of the metadata repository")
    return found


def _examine(folder: Path, laid: Laid, trusted: dict[str, Certificate], hear: Hear) -> list[Examined]:
    """Each package by a worker of its own, the largest first, as many at once as there are processors."""
    sizes = {}
    for one in laid.packages:
        try:
            sizes[one.path] = (folder / one.path).lstat().st_size
        except OSError:
            sizes[one.path] = 0  # told when it is read
    told = _Told(sum(sizes.values()), hear)

    def work(one: Named) -> Examined:
        certificate = None if one.kind == "factory" else trusted.get(one.device)
        return examine(folder, one, certificate, one.path in laid.sums, lambda count: told.read(one.path, count))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        try:
            return list(workers.map(work, sorted(laid.packages, key=lambda one: (-sizes[one.path], one.path))))
        except BaseException:
            told.ended.set()
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def _lines(folder: Path, laid: Laid) -> tuple[list[Offered], list[Problem]]:
    found, wrong = [], []
    for (device, channel), path in laid.lines.items():
        try:
            found.append(Offered(device, channel, _line(folder / path)))
        except Damaged as error:
            wrong.append(error.of(path))
        except OSError as error:
            wrong.append(unreadable(path, error))
    return found, wrong


def _line(path: Path) -> Offer:
    """Raises Damaged and OSError."""
    try:
        offer = Offer.parse(small(path, LINE_BYTES).decode())
    except ValueError as error:
        found = "bytes that are no text" if isinstance(error, UnicodeDecodeError) else f"what {error}"
        raise Damaged("channel", found, "one line BUILD TIMESTAMP ANDROID") from None
    if not BUILD.fullmatch(offer.build):
        raise Damaged("channel BUILD", offer.build, "a build")
    if not ANDROID.fullmatch(offer.android):
        raise Damaged("channel ANDROID", offer.android, "a version")
    return offer


def _changelogs(folder: Path, laid: Laid) -> list[Problem]:
    """They are text that people read on their phones."""
    found = []
    for path in laid.changelogs.values():
        try:
            if not small(folder / path, CHANGELOG_BYTES).decode().strip():
                raise Damaged("changelog", "nothing", "text")
        except UnicodeDecodeError:
            found.append(Problem(shown(path), "changelog", "bytes that are no text", "UTF-8"))
        except Damaged as error:
            found.append(error.of(path))
        except OSError as error:
            found.append(unreadable(path, error))
    return found

"""Whether a release fits together, and follows on what is published: channel lines against packages, and each other."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from roles.release.archive import BASE, FACTORY, PHONES, PUBLIC, Channel, Offer
from roles.release.tools.ota import Package
from roles.release.tools.problems import Problem, Unknown

FIRST = PHONES[-1]
"""The channel that a release goes to before any other."""
Published = Mapping[tuple[str, str], Offer]
"""What channels offer now, by device and channel."""


@dataclass(frozen=True)
class Offered:
    """What a channel will offer. derived: the release has no line of it, so it was made from its packages."""

    device: str
    channel: str
    offer: Offer
    derived: bool = False

    @property
    def path(self) -> str:
        """Of its line, below the release's folder."""
        return f"ota/{self.device}/{self.device}-{self.channel}"

    @property
    def promises(self) -> str:
        """The package, below the release's folder."""
        return Channel(self.device, self.channel, self.path).package(self.offer).removeprefix(f"{PUBLIC}/")


def lines(files: Mapping[str, bytes]) -> Published:
    """What a commit's files offer; a line that is none offers nothing: an audit tells that."""
    found = {}
    for path, content in files.items():
        parts = path.split("/")
        device, dash, channel = parts[-1].partition("-")
        if len(parts) != 3 or parts[0] != "ota" or not dash or device != parts[1]:
            continue
        try:
            found[device, channel] = Offer.parse(content.decode())
        except ValueError:
            continue
    return found


def derive(packages: Sequence[Package], lines: Sequence[Offered]) -> list[Offered]:
    """A line of FIRST for each device that has a full OTA and no line for phones, and one of FACTORY for each that has
    a factory image, no line of it, and an OTA of the same build: only that one knows the timestamp."""
    told = {(one.device, one.channel) for one in lines}
    bases = {(one.device, one.offer.build) for one in lines if one.channel == BASE}
    found = []
    for device in sorted({one.device for one in packages}):
        mine = [one for one in packages if one.device == device]
        stamps = {one.build: one.timestamp for one in mine if one.timestamp is not None}
        for kind, channel, there in (("full", FIRST, (*PHONES, "otatest")), ("factory", FACTORY, (FACTORY,))):
            known = [
                Offer(one.build, stamps[one.build], one.android)
                for one in mine
                if one.kind == kind and one.build in stamps and (device, one.build) not in bases
            ]
            if known and not any((device, name) in told for name in there):
                found.append(Offered(device, channel, max(known, key=lambda one: one.timestamp), derived=True))
    return found


def problems(packages: Sequence[Package], offers: Sequence[Offered], published: Published) -> Iterator[Problem]:
    """Everything that keeps the whole from being published, though each package may be good."""
    there = {one.path: one for one in packages}
    for one in offers:
        if one.promises not in there and one.channel != BASE and published.get((one.device, one.channel)) != one.offer:
            yield Problem(one.path, "channel", f"no {one.promises}", "the package it promises")
        yield from _stamps(one, packages)
        if was := published.get((one.device, one.channel)):
            yield from _follows(one, was)
    for device in sorted({one.device for one in packages}):
        mine = sorted((one for one in packages if one.device == device), key=lambda one: (one.kind != "full", one.path))
        dated = sorted((one for one in mine if one.timestamp is not None), key=lambda one: one.timestamp or 0)
        yield from _agree([one for one in mine if one.timestamp is not None])
        yield from _goes_on(dated)
        yield from _incrementals(mine, offers, published)


def unknowns(packages: Sequence[Package], offers: Sequence[Offered], published: Published | None) -> Iterator[Unknown]:
    """What a person should know."""
    there = {one.path for one in packages}
    if published is None:
        yield Unknown(".", "what is published now was not given: whether phones would be set back was not looked at")
    for one in offers:
        if one.derived:
            yield Unknown(one.path, f"is not there; its package says {one.offer.line.strip()}")
        elif one.promises not in there:
            why = "no phone is on it" if one.channel == BASE else "it is published already"
            yield Unknown(one.path, f"{one.promises} is not in this release: {why}")
    named = {(one.device, one.channel) for one in offers}
    for device in sorted({one.device for one in packages}):
        images = [it.path for it in packages if it.device == device and it.kind == "factory"]
        if images and (device, FACTORY) not in named:
            yield Unknown(
                images[0], f"no line ota/{device}/{device}-{FACTORY}, and no OTA of its build to take it from"
            )
        if not bases(device, offers, published or {}):
            for package in packages:
                if package.device == device and package.kind == "incremental":
                    yield Unknown(package.path, f"no {BASE} says whether {package.base} is what phones have")


def bases(device: str, offers: Iterable[Offered], published: Published) -> list[Offer]:
    """Where incrementals may begin: as the release's own line says, else at what phones have now."""
    own = [one.offer for one in offers if (one.device, one.channel) == (device, BASE)]
    return own or [published[device, name] for name in (BASE, *PHONES) if (device, name) in published]


def _stamps(one: Offered, packages: Sequence[Package]) -> Iterator[Problem]:
    """Phones compare the line's TIMESTAMP with the package's before they install it."""
    for package in sorted(packages, key=lambda it: it.path != one.promises):
        same = (package.device, package.build) == (one.device, one.offer.build)
        if same and package.timestamp not in (None, one.offer.timestamp):
            yield Problem(
                one.path,
                "TIMESTAMP",
                str(one.offer.timestamp),
                f"{package.timestamp}, the post-timestamp of {package.path}",
            )
            return


def _follows(one: Offered, was: Offer) -> Iterator[Problem]:
    now = one.offer
    if now.timestamp < was.timestamp:
        yield Problem(
            one.path, "TIMESTAMP", f"{now.timestamp} of {now.build}", f"not less than the published {was.timestamp}"
        )
    elif now.timestamp == was.timestamp and now != was:
        found = f"{now.line.strip()}, as new as the published {was.line.strip()}"
        yield Problem(one.path, "TIMESTAMP", found, "a later one: no phone would see it")
    elif now.build == was.build and now != was:
        yield Problem(
            one.path, "BUILD", f"{now.line.strip()}", f"{was.line.strip()}, as it was published: builds never change"
        )
    if _version(now.android) < _version(was.android):
        yield Problem(one.path, "ANDROID", now.android, f"not less than the published {was.android}")


def _version(android: str) -> list[int]:
    return [int(part) for part in re.findall("[0-9]+", android)]


def _agree(mine: Sequence[Package]) -> Iterator[Problem]:
    """Packages of the same build say the same of it; mine: full ones first."""
    first: dict[str, Package] = {}
    for one in mine:
        other = first.setdefault(one.build, one)
        for field, found, expected in (
            ("post-timestamp", one.timestamp, other.timestamp),
            ("post-security-patch-level", one.patch_level, other.patch_level),
            ("post-build", one.post_build, other.post_build),
            ("ANDROID", one.android, other.android),
        ):
            if found and expected and found != expected:
                yield Problem(one.path, f"metadata {field}", str(found), f"{expected}, as {other.path}")


def _goes_on(mine: Sequence[Package]) -> Iterator[Problem]:
    """A later build is later for phones too, and no less patched."""
    builds = list({one.build: one for one in reversed(mine)}.values())[::-1]
    for old, new in pairwise(builds):
        if old.timestamp == new.timestamp:
            yield Problem(
                new.path, "metadata post-timestamp", str(new.timestamp), f"another than build {old.build} has"
            )
        if new.patch_level and new.patch_level < old.patch_level:
            yield Problem(
                new.path,
                "metadata post-security-patch-level",
                new.patch_level,
                f"{old.patch_level} or later, as {old.path}",
            )


def _incrementals(mine: Sequence[Package], offers: Sequence[Offered], published: Published) -> Iterator[Problem]:
    full = {one.build: one for one in mine if one.kind == "full"}
    for one in mine:
        if one.kind != "incremental":
            continue
        is_published = any(device == one.device and was.build == one.build for (device, _), was in published.items())
        if one.build not in full and not is_published:
            yield Problem(one.path, "packages", f"no full OTA of {one.build}", "one: most phones need it")
        known = bases(one.device, offers, published)
        stamps = [offer.timestamp for offer in known if offer.build == one.base]
        if known and not stamps:
            builds = ", ".join(dict.fromkeys(offer.build for offer in known))
            yield Problem(
                one.path, "name", f"base {one.base}", f"what {one.device}-{BASE} or phones' channels say: {builds}"
            )
        begins = max(stamps, default=None)
        if base := full.get(one.base):
            begins = base.timestamp
            if base.post_build and one.pre_build != base.post_build:
                yield Problem(
                    one.path, "metadata pre-build", one.pre_build, f"{base.post_build}, the post-build of {base.path}"
                )
        if begins is not None and one.timestamp is not None and begins >= one.timestamp:
            yield Problem(
                one.path, "metadata post-timestamp", str(one.timestamp), f"later than {begins} of its base {one.base}"
            )

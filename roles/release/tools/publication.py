"""What a publication is: the files it brings, the lines it changes, and the words it is told in. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inventories.errors import InputError
from roles.release.archive import BASE, FACTORY, SHA256SUM, Offer
from roles.release.tools.check import Verdict
from roles.release.tools.offers import FIRST, Offered
from roles.release.tools.ota import Package

RESERVE = 1 << 30
"""Bytes that stay free on each server."""


@dataclass(frozen=True)
class Publication:
    """packages: by the release's folder; lines: content by path below the metadata's `ota/`; id: the same for the same
    content, so that whoever runs it again goes on with it. title: of its commit; sets_back: phones may be offered what
    is older."""

    channel: str
    title: str
    packages: tuple[Package, ...]
    lines: Mapping[str, str]
    changelogs: Mapping[str, str]
    offers: tuple[Offered, ...]
    sets_back: bool = False

    @property
    def id(self) -> str:
        facts = [self.channel, [(one.path, one.sha256) for one in self.packages], self.metadata]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return f"{self.channel}-{self.builds[0]}-{digest[:8]}"

    @property
    def builds(self) -> list[str]:
        """That phones are offered, the newest first."""
        return builds(one for one in self.offers if one.channel == self.channel)

    @property
    def metadata(self) -> dict[str, str]:
        """Everything that its commit changes."""
        return {**self.lines, **self.changelogs}

    @property
    def size(self) -> int:
        """Bytes that a server which has nothing of it needs."""
        return sum(one.size for one in self.packages)

    @property
    def sums(self) -> dict[str, str]:
        """`HASH  NAME` by the package's path with its ending."""
        return {f"{one.path}{SHA256SUM}": f"{one.sha256}  {one.path.rpartition('/')[2]}\n" for one in self.packages}

    def manifest(self, who: str, now: str, base: str) -> dict[str, Any]:
        """As a server is told of it. Files with `text` are written there; all others come by rsync. base: the commit
        that phones were offered when it was begun."""
        stamps = {(one.device, one.build): one.timestamp for one in self.packages if one.timestamp is not None}
        lines = {(one.device, one.offer.build): one.offer.timestamp for one in self.offers}
        sums, files = self.sums, []
        for one in self.packages:
            time = stamps.get((one.device, one.build)) or lines.get((one.device, one.build), 0)
            files.append({"path": one.path, "size": one.size, "sha256": one.sha256, "time": time})
            path = f"{one.path}{SHA256SUM}"
            text = sums[path]
            digest = hashlib.sha256(text.encode()).hexdigest()
            files.append({"path": path, "size": len(text), "sha256": digest, "time": time, "text": text})
        return {
            "schema": 1,
            "id": self.id,
            "channel": self.channel,
            "who": who,
            "begun": now,
            "base": base,
            "reserve": RESERVE,
            "files": files,
            "metadata": self.metadata,
        }

    def message(self, before: Mapping[tuple[str, str], Offer]) -> str:
        """Of its commit, as a person would write it."""
        told = [_moves(one, before.get((one.device, one.channel))) for one in self.offers]
        return f"{self.title}\n\n" + "".join(f"{line}\n" for line in told)


def builds(offers: Iterable[Offered]) -> list[str]:
    """The newest first."""
    stamps = {one.offer.build: one.offer.timestamp for one in offers}
    return sorted(stamps, key=lambda build: (-stamps[build], build))


def some(devices: Sequence[str]) -> str:
    """The first of them, and how many there are more."""
    return ", ".join(devices[:3]) + (f" and {len(devices) - 3} more" if len(devices) > 3 else "")


def _moves(one: Offered, was: Offer | None) -> str:
    if was is None:
        how = f"{one.offer.build}, the first"
    elif was == one.offer:
        how = f"{one.offer.build}, as before"
    else:
        how = f"{was.build} -> {one.offer.build}"
    return f"{one.device} {one.channel}: {how}"


def publication(
    verdict: Verdict, channel: str, devices: Sequence[str], changelogs: Mapping[tuple[str, str], str]
) -> Publication:
    """Of a release that was checked: what goes to that channel, of these devices or of all.

    changelogs: content by device and channel. A line of that channel is taken as the release has it, else the newest
    line for phones that it has; lines of factory images and of the bases of incrementals come along.
    Raises InputError when the release is not publishable, or has nothing of a device.
    """
    if not verdict.publishable:
        raise InputError(verdict.folder, "", "is not publishable", "`mainstay release check` says why")
    known = {one.device for one in verdict.offers}
    if unknown := sorted({*devices} - known):
        hint = f"of these there are: {', '.join(sorted(known))}"
        raise InputError(verdict.folder, "--device", f"nothing of {', '.join(unknown)}", hint)
    chosen = set(devices) or known
    offers: list[Offered] = []
    for device in sorted(chosen):
        mine = [one for one in verdict.offers if one.device == device]
        phones = [one for one in mine if one.channel not in (FACTORY, BASE)]
        own = [one for one in phones if one.channel == channel] or [one for one in phones if one.channel == FIRST]
        own = own or sorted(phones, key=lambda one: -one.offer.timestamp)[:1]
        if own:
            offers.append(Offered(device, channel, own[0].offer))
        offers += [one for one in mine if one.channel in (FACTORY, BASE)]
    mine = [one for one in offers if one.channel == channel]
    if not mine:
        raise InputError(verdict.folder, "--channel", f"no line for phones to put on {channel}", "build an OTA")
    return Publication(
        channel=channel,
        title=f"{channel}: {', '.join(builds(mine))} for {some([one.device for one in mine])}",
        packages=tuple(one for one in verdict.packages if one.device in chosen),
        lines={one.path: one.offer.line for one in offers},
        changelogs={
            f"ota/{device}/{device}-{channel}-changelog.html": text
            for (device, name), text in sorted(changelogs.items())
            if device in chosen and name == channel
        },
        offers=tuple(offers),
    )

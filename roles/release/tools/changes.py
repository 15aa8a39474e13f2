"""Publications that bring no package: a promotion offers a build on one more channel, a rollback an earlier one."""

from collections.abc import Mapping, Sequence

from inventories.errors import InputError
from roles.release.archive import CHANNELS, PHONES, Offer
from roles.release.tools.offers import Offered, lines
from roles.release.tools.publication import Publication, some
from roles.release.tools.repository import Repository

FOR_PHONES = tuple(one for one in CHANNELS if one in (*PHONES, "otatest"))
"""Channels that phones may be on."""
REPOSITORY = "the metadata"
"""What is wrong when nothing can be done, in words."""


def for_phones(channel: str, option: str) -> str:
    """Raises InputError for a channel that no phone is on."""
    if channel not in FOR_PHONES:
        raise InputError(option, "", f"no phone is on {channel!r}", f"one of: {', '.join(FOR_PHONES)}")
    return channel


def promotion(
    files: Mapping[str, bytes], build: str, source: str, target: str, devices: Sequence[str], retired: Sequence[str]
) -> Publication:
    """What the source offers of this build is offered on the target too, with its changelog.

    files: of the commit that phones are offered now. devices: of these alone; default: all that have the build there.
    Raises InputError when one has not, or has a later build on the target.
    """
    now = lines(files)
    mine = {
        device: offer
        for (device, channel), offer in sorted(now.items())
        if channel == source and offer.build == build and device not in retired
    }
    if unknown := [one for one in dict.fromkeys(devices) if one not in mine]:
        raise InputError(
            REPOSITORY, "--device", f"{source} has no {build} of {', '.join(unknown)}", "status tells what"
        )
    chosen = {device: offer for device, offer in mine.items() if not devices or device in devices}
    if not chosen:
        raise InputError(REPOSITORY, "BUILD", f"no device has {build} on {source}", "status tells what there is")
    lower = [
        f"{device} ({now[device, target].build})"
        for device, offer in chosen.items()
        if (device, target) in now and now[device, target].timestamp > offer.timestamp
    ]
    if lower:
        hint = "name the others by --device, or roll these back first if that is meant"
        raise InputError(REPOSITORY, f"--to {target}", f"offers a later build to {', '.join(lower)}", hint)
    return _publication(
        target,
        f"{target}: {build} promoted from {source} for {some([*chosen])}",
        {device: (offer, files.get(_changelog(device, source))) for device, offer in chosen.items()},
    )


def rollback(
    device: str, channel: str, offered: Sequence[tuple[Offer, bytes | None]], to: str, now: Offer
) -> Publication:
    """A device's channel offers what it offered before, or the build that is named.

    offered: what the channel has offered, the newest first, each with its changelog; now: what it offers.
    Raises InputError when it never offered that.
    """
    for offer, changelog in offered:
        if offer.timestamp < now.timestamp and to in ("", offer.build):
            title = f"{channel}: {device} back to {offer.build} from {now.build}"
            return _publication(channel, title, {device: (offer, changelog)}, sets_back=True)
    known = list(dict.fromkeys(offer.build for offer, _ in offered if offer.timestamp < now.timestamp))
    hint = f"earlier ones: {', '.join(known)}" if known else "there is no earlier one"
    raise InputError(REPOSITORY, "--to", f"{device} was offered no {to or 'other build'} on {channel} before", hint)


def past(metadata: Repository, commit: str, device: str, channel: str) -> list[tuple[Offer, bytes | None]]:
    """What a channel has offered up to a commit, the newest first, each with its changelog. Raises RepositoryError."""
    path, found = f"ota/{device}/{device}-{channel}", []
    for one in metadata.history(commit, path):
        files = metadata.files(one, path)
        if offer := lines(files).get((device, channel)):
            found.append((offer, files.get(_changelog(device, channel))))
    return found


def _publication(
    channel: str, title: str, offers: Mapping[str, tuple[Offer, bytes | None]], *, sets_back: bool = False
) -> Publication:
    offered = [Offered(device, channel, offer) for device, (offer, _) in offers.items()]
    return Publication(
        channel=channel,
        title=title,
        packages=(),
        lines={one.path: one.offer.line for one in offered},
        changelogs={
            _changelog(device, channel): text.decode() for device, (_, text) in offers.items() if text is not None
        },
        offers=tuple(offered),
        sets_back=sets_back,
    )


def _changelog(device: str, channel: str) -> str:
    return f"ota/{device}/{device}-{channel}-changelog.html"

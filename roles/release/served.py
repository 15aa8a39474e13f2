"""Whether update clients and the web installer get from a restored server what they got before."""

import io
import random
import zipfile

from backup.drills import common_checks
from backup.drills.checks import Answer, CheckFailed, Evidence, NotJudged, Restored, share
from backup.drills.on_host import sums
from backup.drills.serving import Ranges, in_turn, length, media_type, turns
from backup.sizes import counted
from roles.release.archive import (
    BASE,
    FACTORY,
    METADATA,
    PHONES,
    PUBLIC,
    Channel,
    Offer,
    asked,
    channels,
    device_of,
    devices,
)

PHONES_A_DRILL = 4
"""Devices whose phones update in a drill, other ones each time."""
RESUMED_AT_MOST = 16 << 20
"""Bytes that are left of a download when it is resumed."""
COMPARED, COMPARED_AT_MOST = 8, 64 << 20
"""Files of each folder that are compared with what lies on the host, and how large, in bytes, they may be."""
READ_PARTS = 12
"""In so many drills the metadata of all channels has been compared with the snapshot's own."""
POST_TIMESTAMP = "post-timestamp="
OTA_FACTS = "META-INF/com/android/metadata"
NOWHERE = "https://elsewhere.invalid"
ALLOWED = "access-control-allow-origin"


def serving(copy: Restored) -> list[Channel]:
    """The channels of devices that are not retired."""
    return [one for one in channels(copy.wanted) if one.device not in copy.settings.retired]


def offer(copy: Restored, channel: Channel) -> Offer:
    """What an update client is told. Raises CheckFailed."""
    answer = copy.client.get(asked(channel.path))
    if answer.status != 200:
        raise CheckFailed(f"{channel.device}: {asked(channel.path)} answers {answer.status}")
    if media_type(answer) != "text/plain" or "content-encoding" in answer.headers:
        raise CheckFailed(f"{channel.path}: comes as {media_type(answer) or 'nothing'}, not as plain text")
    try:
        return Offer.parse(answer.text)
    except ValueError as error:
        raise CheckFailed(f"{channel.path}: {error}") from None


def channel_metadata(copy: Restored) -> Evidence:
    """Every channel of every device, and the package that it promises; retired devices are gone."""
    sizes = {file.path: file.size for file in copy.wanted}
    wrong: list[str] = []
    gaps: list[str] = []
    for channel in serving(copy):
        try:
            package = channel.package(offer(copy, channel))
        except CheckFailed as error:
            wrong += error.found
            continue
        answer = copy.client.head(asked(package))
        if answer.status != 200:
            lacks = f"{channel.path} promises {package}, which answers {answer.status}"
            (gaps if channel.name == BASE else wrong).append(lacks)
        elif length(answer) != sizes.get(package):
            wrong.append(f"{package}: is served with {length(answer)} bytes, {sizes.get(package)} were saved")
    known = devices(copy.wanted)
    told_of = {channel.device for channel in channels(copy.wanted)}
    for device in devices(copy.saved):
        if device in copy.settings.retired:
            wrong += _not_gone(copy, device)
        elif device not in told_of and (mine := known.get(device)):
            answer = copy.client.head(asked(mine[0]))
            wrong += [] if answer.status == 200 else [f"{device}: {asked(mine[0])} answers {answer.status}"]
    if wrong:
        raise CheckFailed(*wrong)
    if not serving(copy):
        raise CheckFailed("the snapshot has no channel of any device")
    count = len({channel.device for channel in serving(copy)})
    told = [f"{counted(len(serving(copy)), 'channel')} of {counted(count, 'device')}, and the package of each"]
    return Evidence((*told, *gaps), len(serving(copy)), len(serving(copy)))


def _not_gone(copy: Restored, device: str) -> list[str]:
    paths = (f"/ota/{device}/{device}-stable", f"/factory/{device}/")
    got = [(path, copy.client.get(path).status) for path in paths]
    return [f"{path}: the device is retired, and it answers {status}, not 410" for path, status in got if status != 410]


def update(copy: Restored) -> Evidence:
    """Phones of some devices update as they do in the field."""
    mine: dict[str, Channel] = {}
    for channel in sorted(serving(copy), key=lambda one: (one.name not in PHONES, one.name)):
        if channel.name not in (FACTORY, BASE) and (channel.device not in mine or channel.name == PHONES[0]):
            mine[channel.device] = channel
    phones = [mine[device] for device in sorted(mine)]
    if not phones:
        raise NotJudged("the snapshot has no channel that phones are on")
    chosen = in_turn(phones, copy.turn, PHONES_A_DRILL)
    told = [_update(copy, channel) for channel in chosen]
    return Evidence(tuple(told), len(chosen), len(phones), turns(phones, PHONES_A_DRILL))


def _update(copy: Restored, channel: Channel) -> str:
    """One phone by the incremental, if there is one, and another, whose build is too old for it, by the full OTA."""
    offered = offer(copy, channel)
    installed = channel.installed(offered, (file.path for file in copy.wanted))
    if installed:
        _download(copy, channel.incremental(offered, installed[-1]), offered)
    missing = channel.incremental(offered, "0")
    answer = copy.client.get(asked(missing), Range="bytes=0-")
    if answer.status != 404:
        raise CheckFailed(
            f"{missing}: was never released and answers {answer.status}: no phone would take the full OTA"
        )
    _download(copy, channel.package(offered), offered)
    return f"{channel.device} to {offered.build}: {'incremental and full' if installed else 'full'}"


def _download(copy: Restored, package: str, offered: Offer) -> None:
    """Cut in the middle and resumed to the end, then once more; and the package is the one that was offered."""
    answer = copy.client.get(asked(package), Range="bytes=0-0")
    size = length(answer)
    saved = next((file.size for file in copy.wanted if file.path == package), None)
    if answer.status != 206 or size is None or size != saved:
        raise CheckFailed(f"{package}: answers {answer.status} with {size} bytes, {saved} were saved")
    cut = max(size // 2, size - RESUMED_AT_MOST)
    got, digest = copy.client.sha256(asked(package), first=cut)
    script = 'set -eu; tail -c "+$2" -- "$1" | sha256sum'
    lies = copy.sh(script, f"{copy.root}/{package}", str(cut + 1), timeout_s=600).split()[0]
    if (got, digest) != (size - cut, lies):
        raise CheckFailed(f"{package}: resumed at byte {cut}, {got} bytes came that are not the rest of it")
    past = copy.client.get(asked(package), Range=f"bytes={size}-").status
    if past != 416:
        raise CheckFailed(f"{package}: a complete download that resumes is answered by {past}, not 416")
    try:
        with zipfile.ZipFile(io.BufferedReader(Ranges(copy.client, asked(package), size), 1 << 16)) as opened:
            facts = opened.read(OTA_FACTS).decode(errors="replace").splitlines()
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise CheckFailed(f"{package}: a phone cannot look into it: {error}") from None
    stamps = [line.removeprefix(POST_TIMESTAMP) for line in facts if line.startswith(POST_TIMESTAMP)]
    if stamps != [str(offered.timestamp)]:
        raise CheckFailed(
            f"{package}: its post-timestamp is {stamps}, {offered.timestamp} was promised: phones refuse it"
        )


def identity(copy: Restored) -> Evidence:
    """What is served is what lies on this host, by the rules of this site."""
    wrong = []
    small = {folder: _small(copy, folder) for folder in (PUBLIC, METADATA)}
    turn = random.Random(copy.turn)  # noqa: S311
    chosen = sorted(path for paths in small.values() for path in turn.sample(paths, min(COMPARED, len(paths))))
    lies = sums(copy, chosen)
    for path in chosen:
        try:
            digest = copy.client.sha256(asked(path))[1]
        except CheckFailed as error:
            wrong.append(f"{path}: {error}")
            continue
        if digest != lies.get(path):
            wrong.append(f"{path}: is served with another content than lies on the host")
    if not chosen:
        wrong.append("the snapshot has no file that could be compared")
    for device in copy.settings.retired:
        wrong += _not_gone(copy, device)
    some = asked(chosen[0]) if chosen else "/"
    for origin in (*copy.settings.installer_origins, NOWHERE):
        got = copy.client.get(some, Origin=origin, Range="bytes=0-0").headers.get(ALLOWED)
        if got != (None if origin == NOWHERE else origin):
            wrong.append(f"{some}: a page of {origin} gets {ALLOWED}: {got}")
    for path in ("/", "/no-such-file"):
        wrong += _not_plain(path, copy.client.get(path))
    if wrong:
        raise CheckFailed(*wrong)
    rules = f"{counted(len(copy.settings.retired), 'retired device')}, {len(copy.settings.installer_origins)} origins"
    every = sum(map(len, small.values()))
    return Evidence((f"{counted(len(chosen), 'file')} as on the host; {rules}",), len(chosen), every)


def _small(copy: Restored, folder: str) -> list[str]:
    """What of a folder is served, and can be compared."""
    return sorted(
        file.path
        for file in copy.wanted
        if file.type == "file"
        and file.path.startswith(f"{folder}/")
        and "/." not in file.path
        and file.size <= COMPARED_AT_MOST
        and device_of(file.path) not in copy.settings.retired
    )


def _not_plain(path: str, answer: Answer) -> list[str]:
    """What is not there is missing: no page, no list, no redirect, and nothing that names another server."""
    wrong = [] if answer.status == 404 else [f"{path}: answers {answer.status}, not 404"]
    if answer.headers.get("server", "nginx") != "nginx" or "set-cookie" in answer.headers:
        wrong.append(f"{path}: comes from the server {answer.headers.get('server')!r}, or with a cookie")
    return wrong


def stale(copy: Restored) -> Evidence:
    """The newest file, and metadata as the snapshot itself has it: its times can be right, and its builds old."""
    seen = common_checks.stale(copy)
    every = {one.path: one for one in serving(copy)}
    times = {file.path: file.mtime for file in copy.wanted if file.mtime}
    chosen = set(share(every, copy.turn, READ_PARTS))
    if every:
        chosen.add(max(every, key=lambda path: (times[path].timestamp() if path in times else 0, path)))
    wrong = []
    for path, content in zip(sorted(chosen), copy.read(*sorted(chosen)), strict=True):
        try:
            saved = Offer.parse(content.decode(errors="replace"))
        except ValueError as error:
            wrong.append(f"{path}: in the snapshot it {error}")
            continue
        served = offer(copy, every[path])
        if served != saved:
            age = "older" if served.timestamp < saved.timestamp else "another"
            wrong.append(f"{path}: TIMESTAMP {served.timestamp}, {age} than {saved.timestamp} of the snapshot")
    if wrong:
        raise CheckFailed(*wrong)
    told = f"metadata of {counted(len(chosen), 'channel')} as the snapshot has it"
    return Evidence((*seen.told, told), len(chosen), len(every), READ_PARTS)

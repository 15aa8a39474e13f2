"""How it is proved that a restored release server works, and the faults that prove the proof."""

from backup.drills import common_checks, damage
from backup.drills.checks import Check, CheckFailed, Drill, Fault, File, Restored
from backup.drills.serving import CERTIFICATE, QUIET, another_site, anothers_certificate
from roles.release import served
from roles.release.archive import BASE, METADATA, PUBLIC, PUBLICATIONS, Channel, Offer, devices, needed, recorded
from roles.release.packages import PARTS, packages, sample, zips

CHECKS = (
    common_checks.FILES,
    common_checks.owned_by("release"),
    CERTIFICATE,
    Check(
        "stale",
        "what phones are offered is not older than the snapshot",
        "the newest file it lists, and metadata read from it",
        served.stale,
    ),
    Check(
        "channels",
        "every channel of every device is offered, and the package that it promises is there",
        "the devices, channels and sizes that the snapshot lists, and the retired devices of the settings",
        served.channel_metadata,
    ),
    Check(
        "packages",
        "packages that phones are offered have the bytes that were released",
        "the list of checksums, which is kept apart, and the one beside each file",
        packages,
        limit_s=3600,
    ),
    Check("zips", "every package is whole", "its own directory, read on the host", zips, limit_s=1800),
    Check(
        "update",
        "phones update: by the incremental, by the full OTA without one, resumed where they were cut off",
        "what update clients in the field demand, and the package's own timestamp",
        served.update,
        limit_s=1800,
    ),
    Check(
        "identity",
        "it is this site's archive that is served, by its rules",
        "files on the host, retired devices and origins of the settings",
        served.identity,
    ),
)


def _channel(copy: Restored, name: str = "stable") -> Channel:
    """One that phones are on, of a device that has an older build as well."""
    both = {one.device for one in served.serving(copy) if one.name == BASE}
    for channel in served.serving(copy):
        if channel.name == name and channel.device in both:
            return channel
    raise CheckFailed(f"this fault needs a device with the channels {name} and {BASE}, and the snapshot has none")


def _smallest(copy: Restored, paths: "set[str]", what: str) -> str:
    found = sorted((file for file in copy.wanted if file.path in paths), key=lambda file: (file.size, file.path))
    return damage.first(found, what).path


def _missing_file(copy: Restored) -> str:
    return damage.remove(copy, _smallest(copy, _zips(copy), "a package"))


def _truncated(copy: Restored) -> str:
    return damage.truncate(copy, _smallest(copy, _zips(copy), "a package"))


def _flipped(copy: Restored) -> str:
    """Of a package whose turn it is, with a recorded checksum: what is not looked at in this drill shows nothing."""
    known = recorded(copy.mirror(copy.settings.checksums))
    paths = {path for path in sample(copy).chosen if path.rpartition("/")[2] in known}
    return damage.flip(copy, _smallest(copy, paths, "a package with a recorded checksum"))


def _ahead(copy: Restored) -> str:
    """The next build is promised, which is not there; the line has the length and time it had."""
    channel = _channel(copy)
    now = served.offer(copy, channel)
    build = f"{now.build[:-1]}{'1' if now.build.endswith('0') else '0'}"
    return damage.rewrite(copy, channel.path, Offer(build, now.timestamp + 1, now.android).line)


def _stale(copy: Restored) -> str:
    """All channels offer what their devices had before."""
    old = {one.device: served.offer(copy, one) for one in served.serving(copy) if one.name == BASE}
    done = [
        damage.rewrite(copy, one.path, old[one.device].line)
        for one in served.serving(copy)
        if one.device in old and one.name != BASE
    ]
    for folder in (PUBLIC, METADATA, PUBLICATIONS):
        damage.set_back(copy, folder)
    return f"{len(done)} channels offer older builds, and all files are a week older"


def _missing_device(copy: Restored) -> str:
    device = _channel(copy).device
    folders = {file.path for file in copy.wanted if file.type == "dir"}
    mine = (f"{METADATA}/ota/{device}", f"{PUBLIC}/ota/{device}", f"{PUBLIC}/factory/{device}")
    done = [damage.remove(copy, path) for path in mine if path in folders]
    return "; ".join(done)


def _empty(copy: Restored) -> str:
    device = _channel(copy).device
    return damage.empty(
        copy, next(path for path in devices(copy.wanted)[device] if "/factory/" in path).rpartition("/")[0]
    )


def _owner(copy: Restored) -> str:
    return damage.give_away(copy, _channel(copy).path)


def _zips(copy: Restored) -> set[str]:
    return {file.path for file in _files(copy) if file.path.endswith(".zip")}


def _files(copy: Restored) -> list[File]:
    return [file for file in copy.wanted if file.type == "file"]


FAULTS = (
    Fault("missing file", "files", _missing_file),
    Fault("truncated zip", "zips", _truncated),
    Fault("flipped byte", "packages", _flipped),
    Fault("metadata ahead", "channels", _ahead),
    Fault("stale snapshot", "stale", _stale),
    Fault("wrong owner", "owners", _owner),
    Fault("missing device", "channels", _missing_device),
    Fault("empty directory", "files", _empty),
    Fault("another site", "identity", another_site),
    Fault("wrong certificate", "certificate", anothers_certificate),
)
DRILL = Drill(CHECKS, FAULTS, parts=PARTS, needed=needed, quiet=QUIET)

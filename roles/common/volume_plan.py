"""What makes a host's declared volumes usable, from one look at it. Pure.

`LOOK` is run on the host and `parse` reads what it says. Relied on: `blkid -p` exits 2 on a device without any
signature and, since util-linux 2.39, tells the filesystem's own size by FSLASTBLOCK and FSBLOCKSIZE (ext4, XFS, btrfs);
`wipefs DEVICE` prints nothing on such a device; systemd turns What=LABEL= into the by-label path that udev keeps.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from inventories.fleet import Volume

PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}
MAKE = {"ext4": "mkfs.ext4 -q -m 0", "xfs": "mkfs.xfs -q", "btrfs": "mkfs.btrfs -q"}
GROW = {"ext4": "resize2fs {device}", "xfs": "xfs_growfs {mount}", "btrfs": "btrfs filesystem resize max {mount}"}
MARKERS = "/var/lib/mainstay/volumes"
GROWABLE_BYTES = 2**26
"""Less unused space at the end of a disk than this is alignment, not growth."""

# Lines of fields: `id NAME DEVICE`, `disk DEVICE BYTES blank|unsigned|TYPE LABEL FS_BYTES`,
# `mount PATH DEVICE OWNER FS_BYTES rw|ro`, `unit NAME SHA256 ENABLED`, `begun LABEL ID`.
# blank: no signature and only zeros in the first 16 MiB; `-`: none.
LOOK = """
for link in /dev/disk/by-id/*; do
  case $link in *-part[0-9]*) continue;; esac
  [ -b "$link" ] || continue
  device=$(readlink -f "$link")
  echo "id ${link##*/} $device"
  bytes=$(blockdev --getsize64 "$device")
  if found=$(blkid -p -o export "$device"); then
    value() { printf '%s\\n' "$found" | sed -n "s/^$1=//p" | tr -d '\\\\' | tr ' ' _; }
    type=$(value TYPE); label=$(value LABEL); last=$(value FSLASTBLOCK); size=$(value FSBLOCKSIZE)
    echo "disk $device $bytes ${type:-other} ${label:--} $((${last:-0} * ${size:-0}))"
  elif [ $? -ne 2 ] ||
    [ -n "$(wipefs "$device" 2>&1)" ] ||
    [ -n "$(lsblk -n -o NAME "$device" | sed 1d)" ]; then
    echo "disk $device $bytes other - 0"
  elif cmp -s -n 16777216 "$device" /dev/zero; then echo "disk $device $bytes blank - 0"
  else echo "disk $device $bytes unsigned - 0"; fi
done | sort -u
for path in PATHS; do
  read -r source options <<END
$(findmnt -n -o SOURCE,OPTIONS --mountpoint "$path" | tail -n 1)
END
  case $source in "") continue;; /*) source=$(readlink -f "$source");; esac
  # XFS writes its superblock late: ask the running one for its size
  size=$(xfs_info "$path" 2>/dev/null | sed -n 's/^data .*bsize=\\([0-9]*\\) *blocks=\\([0-9]*\\),.*/\\1 * \\2/p')
  echo "mount $path $source $(stat -c %U "$path") $((${size:-0})) ${options%%,*}"
done
for unit in UNITS; do
  sum=$(sha256sum "/etc/systemd/system/$unit" 2>/dev/null) || continue
  echo "unit $unit ${sum%% *} $(systemctl is-enabled "$unit" 2>/dev/null)"
done
for marker in MARKERS/*; do [ -f "$marker" ] && echo "begun ${marker##*/} $(cat "$marker")"; done
true
"""


class VolumeError(Exception):
    """A volume that must not be touched, or is not there: what was expected, found, and to be done."""


@dataclass(frozen=True)
class Disk:
    """A whole disk. kind: blank, unsigned (bytes but no known signature), other, or a filesystem's type."""

    device: str
    size: int
    kind: str
    label: str
    filesystem_size: int


@dataclass(frozen=True)
class Mounted:
    """What is mounted last; filesystem_size is 0 where the disk's own word for it is good."""

    device: str
    owner: str
    filesystem_size: int = 0
    read_only: bool = False


@dataclass(frozen=True)
class Seen:
    """A host as LOOK found it."""

    disks: tuple[Disk, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)
    """Name in /dev/disk/by-id -> device."""
    mounts: Mapping[str, Mounted] = field(default_factory=dict)
    units: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Unit name -> SHA-256, state of enablement."""
    begun: Mapping[str, str] = field(default_factory=dict)
    """Label -> id of the disk whose formatting began, and was not known to end."""


def look(volumes: Mapping[str, Volume]) -> str:
    """The command that looks at a host."""
    mounts = [volume.mount for volume in volumes.values()]
    script = LOOK.replace("PATHS", " ".join(mounts)).replace("UNITS", " ".join(f"'{unit_name(m)}'" for m in mounts))
    return script.replace("MARKERS", MARKERS)


def parse(lines: Iterable[str]) -> Seen:
    """What LOOK said."""
    rows = [line.split(" ") for line in lines if line]
    return Seen(
        tuple(Disk(r[1], int(r[2]), r[3], r[4], int(r[5])) for r in rows if r[0] == "disk"),
        {r[1]: r[2] for r in rows if r[0] == "id"},
        {r[1]: Mounted(r[2], r[3], int(r[4]), r[5] == "ro") for r in rows if r[0] == "mount"},
        {r[1]: (r[2], r[3]) for r in rows if r[0] == "unit"},
        {r[1]: r[2] for r in rows if r[0] == "begun"},
    )


def plan(volumes: Mapping[str, Volume], ids: Mapping[str, str], owners: Mapping[str, str], seen: Seen) -> Iterator[str]:
    """The commands that are missing, in order. ids: which disk each volume is, by its name in /dev/disk/by-id.

    Raises VolumeError rather than touch what holds anything.
    """
    for name, volume in volumes.items():
        disk = _disk(name, volume, ids, seen)
        if disk.label != name:
            yield _format(name, volume, disk, ids[name])
        yield from _mount(name, volume, disk, seen)
        mounted = seen.mounts.get(volume.mount)
        size = (mounted and mounted.filesystem_size) or disk.filesystem_size
        if 0 < size < disk.size - GROWABLE_BYTES:
            yield GROW[volume.filesystem].format(device=disk.device, mount=volume.mount) + f" && sync -f {volume.mount}"
        if (owner := owners.get(name)) and not (mounted and mounted.owner == owner):
            # The mount point last: where it has its owner, all below has.
            yield (
                f"find {volume.mount} -xdev -mindepth 1 -exec chown -h {owner}:{owner} {{}} + && "
                f"chown {owner}:{owner} {volume.mount}"
            )


def unit_name(mount: str) -> str:
    """As `systemd-escape --path --suffix=mount` has it."""
    parts = [part for part in mount.split("/") if part]
    escaped = "-".join("".join(c if c.isalnum() or c in "_." else f"\\x{ord(c):02x}" for c in part) for part in parts)
    return (f"\\x2e{escaped[1:]}" if escaped.startswith(".") else escaped) + ".mount"


def unit(name: str, volume: Volume) -> str:
    """The mount unit. Booting does not wait for it (nofail); what needs the volume is bound to it."""
    return f"""\
[Unit]
Description=Volume {name}

[Mount]
What=/dev/disk/by-label/{name}
Where={volume.mount}
Type={volume.filesystem}
Options=nofail,noatime,nodev,nosuid,noexec

[Install]
WantedBy=multi-user.target
"""


def _disk(name: str, volume: Volume, ids: Mapping[str, str], seen: Seen) -> Disk:
    """The volume's disk: blank, or with its filesystem."""
    device = seen.ids.get(ids.get(name, ""))
    strangers = [disk.device for disk in seen.disks if disk.label == name and disk.device != device]
    if strangers:
        raise VolumeError(f"volume {name}: {', '.join(strangers)} carries its label and is another disk: detach that")
    disk = next((disk for disk in seen.disks if disk.device == device), None)
    if disk is None:
        there = ", ".join(seen.ids) or "none"
        wanted = f"disk {ids[name]}" if name in ids else "a disk, which the lock file does not name"
        raise VolumeError(f"volume {name}: expected {wanted}; attached: {there}. Attach it: deploys/provision.py")
    broken_off = disk.kind == "unsigned" and seen.begun.get(name) == ids[name]
    if (disk.kind, disk.label) == (volume.filesystem, name) or disk.kind == "blank" or broken_off:
        return disk
    raise VolumeError(
        f"volume {name}: expected {volume.filesystem} labelled {name} or a blank disk; {disk.device} has "
        f"{disk.kind} labelled {disk.label}. What holds anything is never formatted: mend it (fsck); or, if it may go, "
        "wipefs -a it and fill its first 16 MiB with zeros (roles/release/README.md)"
    )


def _format(name: str, volume: Volume, disk: Disk, disk_id: str) -> str:
    marker = f"{MARKERS}/{name}"
    return (
        # Looked at again, in the command that formats. The marker tells a broken-off mkfs from somebody's data.
        f"! blkid -p {disk.device} >/dev/null && "
        f"mkdir -p {MARKERS} && echo {disk_id} >{marker} && sync {marker} && "
        f"{MAKE[volume.filesystem]} -L {name} {disk.device} </dev/null && sync && rm {marker}"
    )


def _mount(name: str, volume: Volume, disk: Disk, seen: Seen) -> Iterator[str]:
    mounted = seen.mounts.get(volume.mount)
    if mounted and mounted.device != disk.device:
        raise VolumeError(f"volume {name}: {volume.mount} has {mounted.device} mounted, not {disk.device}")
    if mounted and mounted.read_only:
        raise VolumeError(
            f"volume {name}: {volume.mount} is read-only: by hand, or because the kernel met an error in it "
            f"(journalctl -k). When it is sound: mount -o remount,rw {volume.mount}"
        )
    text, file = unit(name, volume), unit_name(volume.mount)
    digest, enabled = seen.units.get(file, ("", ""))
    if digest != hashlib.sha256(text.encode()).hexdigest():
        path = f"/etc/systemd/system/{file}"
        yield f"cat >'{path}.new' <<'END' && mv '{path}.new' '{path}' && systemctl daemon-reload\n{text}END"
    if enabled != "enabled":
        yield f"systemctl enable --quiet '{file}'"
    if not mounted:
        # udev makes the link some time after mkfs
        link = f"/dev/disk/by-label/{name}"
        yield f"timeout 30 sh -c 'until [ -b {link} ]; do sleep 0.1; done' && systemctl start '{file}'"

"""What the plan for a host's volumes may and may not do, for every state a host can be found in."""

import hashlib
import shutil
import subprocess

import pytest

from inventories.fleet import Volume
from roles.common.volume_plan import Disk, Mounted, Seen, VolumeError, look, parse, plan, unit, unit_name

GIB = 2**30
CONTENT = Volume(size_gb=10, mount="/srv/release")
DECLARED = {"content": CONTENT}
DIGEST = hashlib.sha256(unit("content", CONTENT).encode()).hexdigest()
BLANK = Disk("/dev/vdb", 10 * GIB, "blank", "-", 0)
IDS = {"content": "virtio-ams-1"}
ATTACHED = {"virtio-ams-1": "/dev/vdb", "virtio-ams-2": "/dev/vdc"}
OURS = Disk("/dev/vdb", 10 * GIB, "ext4", "content", 10 * GIB)
IN_SERVICE = Seen(
    (OURS,), ATTACHED, {"/srv/release": Mounted("/dev/vdb", "release")}, {"srv-release.mount": (DIGEST, "enabled")}
)


def commands(seen: Seen, owner: str = "release") -> str:
    return "\n".join(plan(DECLARED, IDS, {"content": owner}, seen))


def test_a_host_in_service_needs_no_command() -> None:
    assert commands(IN_SERVICE) == ""


def test_a_blank_disk_is_formatted_labelled_mounted_and_handed_to_its_owner() -> None:
    text = commands(Seen((BLANK,), ATTACHED))
    steps = [
        text.index(step) for step in ("mkfs.ext4", "-L content /dev/vdb", "daemon-reload", "enable", "start", "chown")
    ]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    "disk",
    [
        Disk("/dev/vdb", 10 * GIB, "ext4", "other", 10 * GIB),
        Disk("/dev/vdb", 10 * GIB, "ext4", "-", 10 * GIB),
        Disk("/dev/vdb", 10 * GIB, "other", "-", 0),
        Disk("/dev/vdb", 10 * GIB, "unsigned", "-", 0),
        Disk("/dev/vdb", 10 * GIB, "xfs", "content", 10 * GIB),
    ],
    ids=["another label", "no label", "partitions", "bytes without a signature", "another filesystem"],
)
def test_a_disk_that_holds_anything_is_never_formatted(disk: Disk) -> None:
    with pytest.raises(VolumeError, match=f"expected ext4 labelled content or a blank disk; /dev/vdb has {disk.kind}"):
        commands(Seen((disk,), ATTACHED))


def test_of_two_blank_disks_of_one_size_each_volume_gets_its_own() -> None:
    both = Seen((Disk("/dev/vdc", 10 * GIB, "blank", "-", 0), BLANK), ATTACHED)
    declared = {"logs": Volume(size_gb=10, mount="/srv/logs"), **DECLARED}
    text = "\n".join(plan(declared, {**IDS, "logs": "virtio-ams-2"}, {}, both))
    assert "-L logs /dev/vdc" in text
    assert "-L content /dev/vdb" in text


def test_a_blank_disk_that_is_not_the_volumes_is_left_alone() -> None:
    with pytest.raises(VolumeError, match="expected disk virtio-ams-1; attached: virtio-ams-9"):
        commands(Seen((BLANK,), {"virtio-ams-9": "/dev/vdb"}))
    with pytest.raises(VolumeError, match="which the lock file does not name"):
        list(plan(DECLARED, {}, {}, Seen((BLANK,), ATTACHED)))


def test_a_format_that_was_broken_off_is_begun_again_on_that_disk_only() -> None:
    unsigned = Disk("/dev/vdb", 10 * GIB, "unsigned", "-", 0)
    assert "mkfs" in commands(Seen((unsigned,), ATTACHED, begun={"content": "virtio-ams-1"}))
    with pytest.raises(VolumeError):
        commands(Seen((unsigned,), ATTACHED, begun={"content": "virtio-ams-2"}))


def test_a_reinstalled_host_mounts_its_data_without_formatting() -> None:
    text = commands(Seen((OURS,), ATTACHED))
    assert "mkfs" not in text
    assert "systemctl start 'srv-release.mount'" in text


def test_two_disks_with_one_label_are_refused() -> None:
    with pytest.raises(VolumeError, match="/dev/vdc carries its label and is another disk"):
        commands(Seen((OURS, Disk("/dev/vdc", 10 * GIB, "ext4", "content", 10 * GIB)), ATTACHED))


def test_another_disk_on_the_mount_point_is_refused() -> None:
    with pytest.raises(VolumeError, match="/srv/release has /dev/vdc mounted, not /dev/vdb"):
        commands(Seen((OURS,), ATTACHED, {"/srv/release": Mounted("/dev/vdc", "release")}))


def test_a_resized_disk_grows_its_filesystem_and_nothing_else() -> None:
    grown = Seen(
        (Disk("/dev/vdb", 20 * GIB, "ext4", "content", 10 * GIB),), ATTACHED, IN_SERVICE.mounts, IN_SERVICE.units
    )
    assert commands(grown).splitlines() == ["resize2fs /dev/vdb && sync -f /srv/release"]


def test_a_volume_that_became_read_only_is_reported_and_left_alone() -> None:
    mounts = {"/srv/release": Mounted("/dev/vdb", "release", read_only=True)}
    with pytest.raises(VolumeError, match="/srv/release is read-only"):
        commands(Seen((OURS,), ATTACHED, mounts, IN_SERVICE.units))


def test_a_mounted_xfs_is_asked_itself_how_large_it_is() -> None:
    mounts = {"/srv/release": Mounted("/dev/vdb", "release", 20 * GIB)}
    grown = Seen((Disk("/dev/vdb", 20 * GIB, "ext4", "content", 10 * GIB),), ATTACHED, mounts, IN_SERVICE.units)
    assert commands(grown) == ""


def test_the_mount_point_changes_owner_last() -> None:
    (command,) = plan(DECLARED, IDS, {"content": "web"}, IN_SERVICE)
    assert command.index("-mindepth 1 -exec chown") < command.index("chown web:web /srv/release")


def test_what_the_host_says_is_read() -> None:
    lines = "id virtio-ams-1 /dev/vdb\nid virtio-ams-2 /dev/vdc\n"
    lines += "disk /dev/vdb 10737418240 ext4 content 10737418240\nmount /srv/release /dev/vdb release 0 rw\n"
    lines += f"unit srv-release.mount {DIGEST} enabled\n"
    assert parse(lines.splitlines()) == IN_SERVICE
    assert parse(["begun content virtio-ams-1"]) == Seen(begun={"content": "virtio-ams-1"})


def test_the_look_is_a_script_that_any_sh_reads() -> None:
    subprocess.run(["sh", "-n", "-c", look(DECLARED)], check=True)


@pytest.mark.parametrize(
    ("mount", "name"), [("/srv/release", "srv-release.mount"), ("/srv/a-b/c.d", "srv-a\\x2db-c.d.mount")]
)
def test_mount_units_are_named_as_systemd_names_them(mount: str, name: str) -> None:
    assert unit_name(mount) == name
    if tool := shutil.which("systemd-escape"):
        said = subprocess.run([tool, "--path", "--suffix=mount", mount], capture_output=True, text=True, check=True)
        assert said.stdout.strip() == name

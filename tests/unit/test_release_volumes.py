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
OURS = Disk("/dev/vdb", 10 * GIB, "ext4", "content", 10 * GIB)
IN_SERVICE = Seen((OURS,), {"/srv/release": Mounted("/dev/vdb", "release")}, {"srv-release.mount": (DIGEST, "enabled")})


def commands(seen: Seen, owner: str = "release") -> str:
    return "\n".join(plan(DECLARED, {"content": owner}, seen))


def test_a_host_in_service_needs_no_command() -> None:
    assert commands(IN_SERVICE) == ""


def test_a_blank_disk_is_formatted_labelled_mounted_and_handed_to_its_owner() -> None:
    text = commands(Seen((BLANK,)))
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
        Disk("/dev/vdb", 20 * GIB, "blank", "-", 0),
    ],
    ids=["another label", "no label", "partitions", "bytes without a signature", "another size"],
)
def test_a_disk_that_holds_anything_or_has_another_size_is_never_formatted(disk: Disk) -> None:
    with pytest.raises(VolumeError, match="expected one disk labelled content"):
        commands(Seen((disk,)))


def test_two_blank_disks_of_one_size_are_not_guessed_between() -> None:
    with pytest.raises(VolumeError, match="expected one disk"):
        commands(Seen((BLANK, Disk("/dev/vdc", 10 * GIB, "blank", "-", 0))))


def test_a_format_that_was_broken_off_is_begun_again_on_that_disk_only() -> None:
    unsigned = Disk("/dev/vdb", 10 * GIB, "unsigned", "-", 0)
    assert "mkfs" in commands(Seen((unsigned,), begun={"content": "/dev/vdb"}))
    with pytest.raises(VolumeError):
        commands(Seen((unsigned,), begun={"content": "/dev/vdc"}))


def test_a_reinstalled_host_mounts_its_data_without_formatting() -> None:
    text = commands(Seen((OURS,)))
    assert "mkfs" not in text
    assert "systemctl start 'srv-release.mount'" in text


def test_two_disks_with_one_label_are_refused() -> None:
    with pytest.raises(VolumeError, match="/dev/vdb, /dev/vdc all carry this label"):
        commands(Seen((OURS, Disk("/dev/vdc", 10 * GIB, "ext4", "content", 10 * GIB))))


def test_another_filesystem_than_declared_is_refused() -> None:
    with pytest.raises(VolumeError, match="declared as ext4, /dev/vdb holds xfs"):
        commands(Seen((Disk("/dev/vdb", 10 * GIB, "xfs", "content", 10 * GIB),)))


def test_another_disk_on_the_mount_point_is_refused() -> None:
    with pytest.raises(VolumeError, match="/srv/release has /dev/vdc mounted, not /dev/vdb"):
        commands(Seen((OURS,), {"/srv/release": Mounted("/dev/vdc", "release")}))


def test_a_resized_disk_grows_its_filesystem_and_nothing_else() -> None:
    grown = Seen((Disk("/dev/vdb", 20 * GIB, "ext4", "content", 10 * GIB),), IN_SERVICE.mounts, IN_SERVICE.units)
    assert commands(grown).splitlines() == ["resize2fs /dev/vdb && sync -f /srv/release"]


def test_a_mounted_xfs_is_asked_itself_how_large_it_is() -> None:
    mounts = {"/srv/release": Mounted("/dev/vdb", "release", 20 * GIB)}
    grown = Seen((Disk("/dev/vdb", 20 * GIB, "ext4", "content", 10 * GIB),), mounts, IN_SERVICE.units)
    assert commands(grown) == ""


def test_the_mount_point_changes_owner_last() -> None:
    (command,) = plan(DECLARED, {"content": "web"}, IN_SERVICE)
    assert command.index("-mindepth 1 -exec chown") < command.index("chown web:web /srv/release")


def test_a_name_too_long_for_a_label_is_refused() -> None:
    xfs = Volume(size_gb=10, mount="/srv/x", filesystem="xfs")
    with pytest.raises(VolumeError, match="at most 12 characters"):
        list(plan({"release-content": xfs}, {}, Seen()))


def test_what_the_host_says_is_read() -> None:
    lines = "disk /dev/vdb 10737418240 ext4 content 10737418240\nmount /srv/release /dev/vdb release 0\n"
    lines += f"unit srv-release.mount {DIGEST} enabled\n"
    assert parse(lines.splitlines()) == IN_SERVICE
    assert parse(["begun content /dev/vdb"]) == Seen(begun={"content": "/dev/vdb"})


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

"""Awkward and many files, and a large one, through the vault and back: compared by a walk of the test's own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.saved_site import DATA, Saved, saved_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

SOURCE = "/srv/release/public"
UNIT = "mainstay-backup@release"
MAKE = """
import os, sys
os.umask(0)
os.chdir(b'/srv/release/public')
os.mkdir(b'awkward')
os.chdir(b'awkward')
names = [b'caf\\xe9', b'\\xff\\n\\xfe', b' leading', b'-rf', b'a\\\\b', b'q"u\\'ote', b'*?[x]', b'n' * 255]
for name in names:
    os.mkdir(b'd' + name[:200])
    with open(b'd' + name[:200] + b'/' + name, 'wb') as file:
        file.write(name)
for number in range(3):
    os.link(b'dcaf\\xe9/caf\\xe9', b'hard%d' % number)
with open('sparse', 'wb') as file:
    file.write(b'start'); file.seek(300_000_000); file.write(b'end')
for name, mode in (('empty', 0o4751), ('none', 0), ('all', 0o1777)):
    with open(name, 'wb'):
        pass
    os.chmod(name, mode)
os.setxattr('empty', 'user.colour', b'blue\\xff\\x00')
os.chown('all', 12345, 54321)
os.symlink(b'to/nowhere\\xff', b'link')
os.mkfifo('pipe')
os.utime('none', ns=(1, 981173106123456789))
os.mkdir('many')
for number in range(int(sys.argv[1])):
    if number % 1000 == 0:
        folder = 'many/%d' % (number // 1000)
        os.mkdir(folder)
    with open('%s/%d' % (folder, number), 'wb') as file:
        file.write(b'%d' % number)
"""
WALK = """
import hashlib, json, os, stat, sys
root = os.fsencode(sys.argv[1])
first = {}
found = {}
for folder, folders, files in os.walk(root):
    folders.sort()
    files.sort()
    for name in [b'.', *folders, *files]:
        path = os.path.join(folder, name)
        at = os.lstat(path)
        told = [stat.filemode(at.st_mode), at.st_uid, at.st_gid, at.st_mtime_ns]
        if stat.S_ISLNK(at.st_mode):
            told.append(os.readlink(path).hex())
        else:
            told.append({key: os.getxattr(path, key).hex() for key in os.listxattr(path)})
        if stat.S_ISREG(at.st_mode):
            with open(path, 'rb') as file:
                told.append(hashlib.file_digest(file, 'sha256').hexdigest())
            told.append(at.st_blocks * 512 < at.st_size / 2)
            told.append(first.setdefault(at.st_ino, os.path.relpath(path, root).hex()))
        found[os.path.relpath(path, root).hex()] = told
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from saved_site(tmp_path_factory.mktemp("awkward"))


def script(saved: Saved, program: str, argument: str) -> str:
    saved.root("release-1", f"cat >/root/program <<'END'\n{program}\nEND")
    return saved.root("release-1", f"python3 -I /root/program {argument}")


def there(saved: Saved) -> Any:
    return json.loads(script(saved, WALK, SOURCE))


def here(root: Path) -> Any:
    done = subprocess.run([sys.executable, "-I", "-c", WALK, str(root)], capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("many", [1000, pytest.param(100_000, marks=pytest.mark.full)])
def test_what_comes_back_is_what_was_there(saved: Saved, tmp_path: Path, many: int) -> None:
    saved.root("release-1", f"rm -rf {SOURCE}/awkward")
    script(saved, MAKE, str(many))
    before = there(saved)
    assert len(before) > many
    saved.root("release-1", f"systemctl start {UNIT}")
    entry = saved.entries()[-1]
    assert (entry["outcome"], entry["unread_count"]) == ("ok", 0)
    assert saved.mainstay("restore", DATA, "--to", str(tmp_path / "back")).returncode == 0
    assert here(tmp_path / "back/public") == before
    saved.root("release-1", "systemctl start mainstay-backup-verify@release")
    assert saved.mainstay("verify", "--all").returncode == 0


LARGE = f"""
import os
with open('{SOURCE}/large', 'wb') as file:
    for start in (0, 4_200_000_000, 4_800_000_000):
        file.seek(start)
        for _ in range(200):
            file.write(os.urandom(1_000_000))
"""
"""5 GB, of which most is a hole, which is quickly saved; not so at its ends, and where offsets pass 32 bits."""


@pytest.mark.full
def test_one_file_of_five_gigabytes_takes_no_more_memory_than_others(saved: Saved, tmp_path: Path) -> None:
    saved.root("release-1", f"rm -rf {SOURCE}/awkward")
    script(saved, LARGE, "")
    largest = "import resource; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    run = "['python3', '-I', '/usr/local/lib/mainstay/backup.pyz', 'run', 'release']"
    said = script(saved, f"import subprocess; subprocess.run({run}, check=True)\n{largest}", "")
    assert saved.entries()[-1]["outcome"] == "ok"
    assert int(said.split()[-1]) < 512 * 1024
    before = there(saved)
    assert saved.mainstay("restore", DATA, "--to", str(tmp_path / "back")).returncode == 0
    assert here(tmp_path / "back/public") == before
    saved.root("release-1", f"rm {SOURCE}/large")


def test_what_cannot_be_read_is_named_and_the_rest_is_saved(saved: Saved) -> None:
    """Root reads everything, but what the kernel refuses: memory of a process, mounted on a file."""
    saved.root("release-1", f"touch {SOURCE}/refused; mount --bind /proc/1/mem {SOURCE}/refused")
    try:
        assert saved.agent("run", "release").returncode == 3
    finally:
        saved.root("release-1", f"umount {SOURCE}/refused; rm {SOURCE}/refused")
    entry = saved.entries()[-1]
    assert (entry["outcome"], entry["unread_count"]) == ("incomplete", 1)
    assert entry["unread"][0][0] == f"{SOURCE}/refused"
    assert entry["snapshot"]
    assert saved.agent("run", "release").returncode == 0


CHURN = """
import itertools, os, time

for i in itertools.count():
    with open("log", "a") as log, open(f"f{i % 500}", "w") as file:
        print(i, file=log)
        print(i, file=file)
    if i >= 250:
        os.unlink(f"f{(i - 250) % 500}")
    time.sleep(0.001)
"""
"""Hundreds of times a second. No shell: that would take a whole core for it."""


def test_what_changes_and_vanishes_meanwhile_does_not_fail_it(saved: Saved) -> None:
    folder = f"{SOURCE}/churn"
    run = f"systemd-run -q -u churn -p WorkingDirectory={folder} python3 -I /root/churn"
    saved.root("release-1", f"mkdir {folder}; cat >/root/churn <<'END'\n{CHURN}\nEND\n{run}")
    try:
        for _ in range(3):
            saved.root("release-1", f"systemctl start {UNIT} || {{ journalctl -q -n 30 -u {UNIT} >&2; exit 1; }}")
            assert saved.entries()[-1]["outcome"] == "ok"
        saved.root("release-1", "systemctl is-active churn")
    finally:
        saved.root("release-1", f"systemctl stop churn; rm -r {SOURCE}/churn")
    assert saved.mainstay("verify", "--all").returncode == 0

"""Puts back who may reach this host and how, unless a new connection confirms a change in time.

    rollback.py arm      before a change: saves the files below, and starts a timer that puts them back
    rollback.py disarm   through a new connection: forgets what was saved. Fails if it was put back already
    rollback.py now      by the timer, or a later deploy: puts back, and makes the services take it up
    rollback.py boot     early at boot, before these services start: puts the files back

Armed is while /var/lib/mainstay/armed exists: it survives a reboot, and a roll-back that was cut off, or could not put
everything back, is done again every 45 s. What is reached through a symlink is left alone, since a user may have made
it; anything else that stands in a file's place goes.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

STATE = Path("/var/lib/mainstay")
ARMED = STATE / "armed"
RECORDS = STATE / "units"
TIMER = "mainstay-rollback-timer.timer"
GUARDED = (
    "/etc/ssh/sshd_config",
    "/etc/ssh/sshd_config.d/*",
    "/etc/nftables.conf",
    "/etc/sysctl.d/*",
    "/etc/sudoers",
    "/etc/sudoers.d/*",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/systemd/resolved.conf.d/*",
    "/etc/systemd/system/systemd-sysctl.service.d/*",
    "/home/*/.ssh/authorized_keys",
)
UNITS = ("nftables.service", "systemd-sysctl.service", "systemd-resolved.service", "ssh.service")
HOMES = Path("/home")
NETWORK = Path("/proc/sys/net")


def run(*command: str) -> int:
    return subprocess.run(command, stdin=subprocess.DEVNULL).returncode


def linked(path: Path) -> bool:
    """Whether a symlink is on the way: the file has another path too, maybe another user's."""
    return any(part.is_symlink() for part in (path, *path.parents))


def guarded() -> set[Path]:
    found = {path for pattern in GUARDED for path in Path("/").glob(pattern[1:])}
    return {path for path in found if path.is_file() and not linked(path)}


def network_settings() -> dict[str, str]:
    """Values under /proc/sys/net; those that cannot be read or hold more than a line are nobody's settings."""
    found = {}
    for path in NETWORK.rglob("*"):
        try:
            if path.is_file() and "\n" not in (value := path.read_text().strip()):
                found[str(path)] = value
        except OSError:
            continue
    return found


def save(source: Path, target: Path) -> None:
    """Content, mode, owner and times."""
    about = source.stat()
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    os.chown(target, about.st_uid, about.st_gid)


@contextmanager
def rights_of(about: os.stat_result) -> Iterator[None]:
    """What is done in a home is done as its owner: a link that is made there meanwhile leads root nowhere."""
    before = os.geteuid(), os.getegid()
    os.setegid(about.st_gid)
    os.seteuid(about.st_uid)
    try:
        yield
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_way(parent: Path) -> None:
    """A directory that may be written to, whatever its owner has made of it."""
    if not parent.is_dir():
        clear(parent)
        parent.mkdir(mode=0o700)
    about = parent.stat()
    if about.st_uid == os.geteuid() and about.st_mode & 0o700 != 0o700:
        parent.chmod(about.st_mode | 0o700)


def restore(source: Path, target: Path) -> None:
    """What `save` saved, complete or not at all. What stands in the way goes; directories that are missing are made."""
    about, content = source.stat(), source.read_bytes()
    home = Path(*target.parts[:3])
    if home.parent == HOMES and not home.exists():
        home.mkdir(mode=0o700)
        os.chown(home, about.st_uid, about.st_gid)
    with rights_of(about):
        for parent in reversed(target.parents):
            make_way(parent)
        fresh = target.with_name(f".{target.name}.mainstay-rollback")
        clear(fresh)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fchmod(out.fileno(), about.st_mode & 0o7777)
            os.utime(out.fileno(), ns=(about.st_atime_ns, about.st_mtime_ns))
            os.fsync(out.fileno())
        if target.is_dir():
            clear(target)
        fresh.rename(target)


def remove(path: Path) -> None:
    with rights_of(path.parent.stat()):
        path.unlink(missing_ok=True)


def stop_timer() -> None:
    run("systemctl", "--quiet", "stop", TIMER)


def arm() -> None:
    """Again while armed: what was saved first stays, the time starts anew."""
    if not ARMED.exists():
        saving = STATE / "arming"
        shutil.rmtree(saving, ignore_errors=True)
        (saving / "files").mkdir(parents=True, mode=0o700)
        for path in guarded():
            save(path, saving / "files" / path.relative_to("/"))
        lines = [f"{path}={value}\n" for path, value in network_settings().items()]
        (saving / "network").write_text("".join(lines))
        if run("systemctl", "--quiet", "enable", "mainstay-rollback.service"):
            sys.exit("the roll-back at boot cannot be enabled: nothing was changed")
        os.sync()
        saving.rename(ARMED)
    if run("systemctl", "--quiet", "restart", TIMER):
        sys.exit("the roll-back's timer cannot be set: nothing was changed")


def tried(change: Callable[[], None]) -> bool:
    """Whether it went well: what is wrong with one file keeps no other from being put back."""
    try:
        change()
    except OSError as error:
        print(error, file=sys.stderr)
        return False
    return True


def put_back() -> bool:
    """Whether all went well. What was there comes first, then what was not goes."""
    files = ARMED / "files"
    saved = {Path("/") / path.relative_to(files): path for path in files.rglob("*") if path.is_file()}
    well = True
    for path, source in saved.items():
        if linked(path.parent):
            print(f"{path}: left alone, a symlink is on the way now", file=sys.stderr)
        else:
            well &= tried(partial(restore, source, path))
    for path in guarded() - saved.keys():
        well &= tried(partial(remove, path))
    for unit in UNITS:  # a later deploy is to see that these do not run what is on disk
        (RECORDS / unit).unlink(missing_ok=True)
    return well


def put_back_network() -> None:
    """Settings that the files do not name: what was set cannot be unset by leaving it out."""
    now = network_settings()
    for line in (ARMED / "network").read_text().splitlines():
        path, _, value = line.partition("=")
        if path in now and now[path] != value:
            try:
                Path(path).write_text(value)
            except OSError as error:
                print(f"{path}: {error.strerror}", file=sys.stderr)


def roll_back(*, live: bool) -> None:
    if not ARMED.exists():
        stop_timer()
        return
    print("a change was not confirmed by a new connection: putting back sshd, firewall, network and admins")
    well = put_back()
    if live:
        put_back_network()
        run("nft", "-f", "/etc/nftables.conf")
        run("systemctl", "daemon-reload")
        for unit in ("systemd-sysctl.service", "systemd-resolved.service", "ssh.service"):
            run("systemctl", "restart", unit)
    os.sync()
    if not well:
        # At boot the timer starts later than this, which the boot waits for.
        run("systemctl", "--quiet", "--no-block", "start", TIMER)
        sys.exit("not everything could be put back: tried again in less than a minute")
    shutil.rmtree(ARMED)
    if live:
        run("systemctl", "--quiet", "reset-failed", "mainstay-rollback.service")
        stop_timer()


def disarm() -> None:
    if not ARMED.exists():
        sys.exit("too late: the host has put back what it had before")
    done = STATE / "disarmed"
    shutil.rmtree(done, ignore_errors=True)
    ARMED.rename(done)
    shutil.rmtree(done)
    stop_timer()


def main(verb: str) -> None:
    os.umask(0o077)
    os.setgroups([])
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with Path("/run/mainstay-rollback.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if verb == "arm":
            arm()
        elif verb == "disarm":
            disarm()
        else:
            roll_back(live=verb == "now")


if __name__ == "__main__":
    main(sys.argv[1])

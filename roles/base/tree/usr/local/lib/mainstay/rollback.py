"""Puts back who may reach this host and how, unless a new connection confirms a change in time.

    rollback.py arm      before a change: saves the files below, and sets a timer that puts them back
    rollback.py disarm   through a new connection: forgets what was saved. Fails if it was put back already
    rollback.py now      by the timer, or a later deploy: puts back, and makes the services take it up
    rollback.py boot     early at boot, before these services start: puts the files back

Armed is while /var/lib/mainstay/armed exists: it survives a reboot, and a roll-back that was cut off, or could not put
everything back, is done again every 45 s. What is reached through a symlink is left alone: a user may have made it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

STATE = Path("/var/lib/mainstay")
ARMED = STATE / "armed"
RECORDS = STATE / "units"
TIMER = "mainstay-rollback-timer"
SECONDS = 45
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


def copy(source: Path, target: Path) -> None:
    """Content, mode, owner and times, complete or not at all. Directories that are missing are its owner's."""
    about = source.stat()
    for parent in reversed(target.parents):
        if not parent.exists():
            parent.mkdir(mode=0o700)
            os.chown(parent, about.st_uid, about.st_gid)
    fresh = target.with_name(f".{target.name}.mainstay-rollback")
    fresh.unlink(missing_ok=True)
    shutil.copy2(source, fresh)
    os.chown(fresh, about.st_uid, about.st_gid)
    with fresh.open("rb") as written:
        os.fsync(written.fileno())
    fresh.rename(target)


def stop_timer() -> None:
    run("systemctl", "--quiet", "stop", f"{TIMER}.timer")


def set_timer(*options: str) -> bool:
    """Fires again and again, until a roll-back that went well stops it."""
    stop_timer()
    command = ("systemd-run", "--quiet", "--collect", f"--unit={TIMER}", *options)
    times = (f"--on-active={SECONDS}", f"--on-unit-inactive={SECONDS}", "--timer-property=AccuracySec=1s")
    return not run(*command, *times, "/usr/bin/python3", "-I", __file__, "now")


def arm() -> None:
    """Again while armed: what was saved first stays, the time starts anew."""
    if not ARMED.exists():
        saving = STATE / "arming"
        shutil.rmtree(saving, ignore_errors=True)
        (saving / "files").mkdir(parents=True, mode=0o700)
        for path in guarded():
            copy(path, saving / "files" / path.relative_to("/"))
        lines = [f"{path}={value}\n" for path, value in network_settings().items()]
        (saving / "network").write_text("".join(lines))
        if run("systemctl", "--quiet", "enable", "mainstay-rollback.service"):
            sys.exit("the roll-back at boot cannot be enabled: nothing was changed")
        os.sync()
        saving.rename(ARMED)
    if not set_timer():
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
            well &= tried(partial(copy, source, path))
    for path in guarded() - saved.keys():
        well &= tried(partial(path.unlink, missing_ok=True))
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
        if run("systemctl", "--quiet", "is-active", f"{TIMER}.timer"):
            set_timer("--no-block")  # at boot, timers start later, and the boot waits for this
        sys.exit(f"not everything could be put back: tried again in {SECONDS} s")
    shutil.rmtree(ARMED)
    if live:
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

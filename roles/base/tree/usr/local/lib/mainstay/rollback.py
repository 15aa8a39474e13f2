"""Puts back who may reach this host and how, unless a new connection confirms a change in time.

    rollback.py arm      before a change: saves the files below, and sets a timer that puts them back
    rollback.py disarm   through a new connection: forgets what was saved. Fails if it was put back already
    rollback.py now      by the timer, or a later deploy: puts back, and makes the services take it up
    rollback.py boot     early at boot, before these services start: puts the files back

Armed is while /var/lib/mainstay/armed exists: it survives a reboot, and a roll-back that was cut off is done again.
"""

import fcntl
import os
import shutil
import subprocess
import sys
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


def guarded() -> set[Path]:
    return {path for pattern in GUARDED for path in Path("/").glob(pattern[1:]) if path.is_file()}


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
    """Content, mode, owner and times, complete or not at all."""
    for parent in [*reversed(target.parents), target.parent]:
        if not parent.exists():
            parent.mkdir(mode=0o700)
    fresh = target.with_name(f".{target.name}.mainstay-rollback")
    fresh.unlink(missing_ok=True)
    shutil.copy2(source, fresh)
    about = source.stat()
    os.chown(fresh, about.st_uid, about.st_gid)
    with fresh.open("rb") as written:
        os.fsync(written.fileno())
    fresh.rename(target)


def set_timer() -> None:
    run("systemctl", "--quiet", "stop", f"{TIMER}.timer")
    command = ("systemd-run", "--quiet", "--collect", f"--unit={TIMER}", f"--on-active={SECONDS}")
    program = ("/usr/bin/python3", "-I", __file__, "now")
    if run(*command, "--timer-property=AccuracySec=1s", *program):
        sys.exit("the roll-back's timer cannot be set: nothing was changed")


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
    set_timer()


def put_back() -> None:
    files = ARMED / "files"
    saved = {Path("/") / path.relative_to(files): path for path in files.rglob("*") if path.is_file()}
    for path in guarded() - saved.keys():
        path.unlink()
    for path, source in saved.items():
        copy(source, path)
    for unit in UNITS:  # a later deploy is to see that these do not run what is on disk
        (RECORDS / unit).unlink(missing_ok=True)


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
        return
    print("a change was not confirmed by a new connection: putting back sshd, firewall, network and admins")
    put_back()
    if live:
        put_back_network()
        run("nft", "-f", "/etc/nftables.conf")
        run("systemctl", "daemon-reload")
        for unit in ("systemd-sysctl.service", "systemd-resolved.service", "ssh.service"):
            run("systemctl", "restart", unit)
    os.sync()
    shutil.rmtree(ARMED)
    if live:
        run("systemctl", "--quiet", "stop", f"{TIMER}.timer")


def disarm() -> None:
    if not ARMED.exists():
        sys.exit("too late: the host has put back what it had before")
    done = STATE / "disarmed"
    shutil.rmtree(done, ignore_errors=True)
    ARMED.rename(done)
    shutil.rmtree(done)
    run("systemctl", "--quiet", "stop", f"{TIMER}.timer")


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

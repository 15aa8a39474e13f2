"""Makes, changes and removes accounts and groups. Files in a home are written as its user: it may hold any symlink."""

import base64
import json
import os
import pwd
import subprocess
import sys
import zlib
from collections.abc import Callable

# Whatever the user has made of the own home must not be in the way of any later run.
OWN_DIRECTORY = """umask 077; chmod u+rwx "$HOME" && cd && { [ -d .ssh ] && [ ! -L .ssh ] || rm -f .ssh; } &&
mkdir -p .ssh && chmod 700 .ssh && rm -rf .ssh/.authorized_keys.new"""
WRITE_KEYS = f"""{OWN_DIRECTORY} && cat > .ssh/.authorized_keys.new &&
{{ [ -L .ssh/authorized_keys ] || [ ! -d .ssh/authorized_keys ] || rm -r .ssh/authorized_keys; }} &&
mv -fT .ssh/.authorized_keys.new .ssh/authorized_keys"""
REMOVE_KEYS = f"{OWN_DIRECTORY} && rm -rf .ssh/authorized_keys"


class Failure(Exception):
    """Says what failed and why."""


def run(*command: str, stdin: str = "", allowed: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode not in allowed:
        raise Failure(f"`{' '.join(command)}` fails ({done.returncode}): {done.stdout.strip()}")


def group(name: str) -> None:
    run("groupadd", "--system", name)


def add(name: str, shell: str, home: str, system: bool, group_exists: bool) -> None:
    # `*` is no password anybody has; with useradd's own `!` an sshd without PAM refuses keys as well.
    words = ["useradd", "--password", "*", "--shell", shell, "--home-dir", home]
    words += ["--gid", name] if group_exists else ["--user-group"]
    words += ["--system"] if system else []
    words += ["--no-create-home"] if home == "/nonexistent" else ["--create-home"]
    run(*words, name)


def shell(name: str, path: str) -> None:
    run("usermod", "--shell", path, name)


def home(name: str, path: str) -> None:
    run("usermod", "--home", path, name)


def full_name(name: str, text: str) -> None:
    run("usermod", "--comment", text, name)


def groups(name: str, names: list[str]) -> None:
    run("usermod", "--groups", ",".join(names), name)


def keys(name: str, lines: list[str]) -> None:
    user = pwd.getpwnam(name)
    if not os.path.lexists(user.pw_dir):
        run("install", "-d", "-m", "0700", "-o", name, "-g", str(user.pw_gid), user.pw_dir)
    text = "".join(f"{line}\n" for line in lines)
    script = WRITE_KEYS if lines else REMOVE_KEYS
    run("runuser", "-u", name, "--", "env", f"HOME={user.pw_dir}", "sh", "-c", script, stdin=text)


def remove(name: str) -> None:
    if name == os.environ.get("SUDO_USER"):
        raise Failure(f"{name}: not removed, because you are logged in as it")
    uid = pwd.getpwnam(name).pw_uid
    if uid == 0:
        raise Failure(f"{name}: not removed, because it is root")
    run("pkill", "-KILL", "-u", name, allowed=(0, 1))
    for verb in ("stop", "reset-failed"):  # a service manager that is killed counts as a unit that failed
        run("systemctl", "-q", verb, f"user@{uid}.service", allowed=(0, 1, 5))
    run("userdel", "--force", name)


ORDERS: dict[str, Callable[..., None]] = {
    "group": group,
    "add": add,
    "shell": shell,
    "home": home,
    "full_name": full_name,
    "groups": groups,
    "keys": keys,
    "remove": remove,
}


def main() -> int:
    for verb, *words in json.loads(zlib.decompress(base64.b64decode(sys.stdin.buffer.read()))):
        try:
            ORDERS[verb](*words)
        except Failure as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

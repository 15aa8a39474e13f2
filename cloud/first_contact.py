"""First contact with a host: its temporary host key is replaced by one made on the host itself, and that one is pinned.

Every step may be the last one of a killed run; the next run goes on from what it finds:

1. connect, accepting the key handed over in user_data (or one pinned already) and no other;
2. make the new key on the host, beside the old one, and read its public half over that trusted connection;
3. pin it: from now on the lock holds both keys;
4. put it in the old one's place and restart sshd;
5. connect again, accepting the new key alone;
6. empty the user data at the provider, and scrub what cloud-init kept of it on the host;
7. forget the temporary key: first contact is over.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
from pyinfra.api.exceptions import PyinfraError

from cloud.client import Report
from inventories.login import agent_keys

CONNECT_S = 5
BOOT_S = 600
STEP_S = 120
LOST = (OSError, EOFError, paramiko.SSHException)
"""How paramiko says that a connection could not be made, or broke. cloud-init restarts sshd during the first boot."""

# `ssh-keygen -y` prints the public half with the comment, hence `cut`. A fresh key counts once it can be read back.
MAKE_KEY = """
set -eu
cd /etc/ssh
public() { ssh-keygen -y -f "$1" 2>/dev/null | cut -d' ' -f1,2; }
if [ "$(public ssh_host_ed25519_key)" = "$1" ]; then
    if [ -z "$(public mainstay_new_key)" ]; then
        rm -f mainstay_new_key mainstay_new_key.pub
        ssh-keygen -q -t ed25519 -N '' -C '' -f mainstay_new_key
        sync mainstay_new_key
    fi
    public mainstay_new_key
else
    public ssh_host_ed25519_key
fi
"""

USE_KEY = """
set -eu
cd /etc/ssh
# Without the provider's metadata cloud-init takes a boot for the first one: it would make other keys, and an account
# of its own with sudo.
printf 'ssh_deletekeys: false\\nssh_genkeytypes: []\\nusers: []\\n' > /etc/cloud/cloud.cfg.d/95-mainstay.cfg
if [ -e mainstay_new_key ]; then
    mv -f mainstay_new_key ssh_host_ed25519_key
fi
ssh-keygen -y -f ssh_host_ed25519_key > ssh_host_ed25519_key.pub
for key in ssh_host_*_key; do
    [ "$key" = ssh_host_ed25519_key ] || rm -f "$key" "$key.pub"
done
rm -f mainstay_new_key.pub
sync ssh_host_ed25519_key .
systemctl restart ssh
"""

# cloud-init may still be at work, and would write what is removed here once more.
SCRUB = """
set -eu
timeout 100 cloud-init status --wait >/dev/null || true
rm -f /var/lib/cloud/instances/*/user-data.txt* /var/lib/cloud/instances/*/cloud-config.txt
rm -f /var/lib/cloud/instances/*/obj.pkl /var/lib/cloud/instances/*/vendor-cloud-config.txt
rm -rf /var/lib/cloud/instances/*/scripts/part-* /run/cloud-init/instance-data-sensitive.json
rm -rf /run/cloud-init/combined-cloud-config.json /run/cloud-init/cloud-config-sensitive.json
"""


class ContactError(PyinfraError):
    """A host could not be reached, or did what it should not. Says which and why."""


class WrongHostKeyError(ContactError):
    """The host at this address has another key than the one known: nothing was sent to it."""


@dataclass(frozen=True)
class Login:
    """How an admin logs in."""

    user: str
    key: Path | None
    """None leaves it to the agent and ~/.ssh."""


@dataclass(frozen=True)
class Keys:
    """A host's keys in the lock."""

    temporary: str
    """First contact is over when it is empty."""
    pinned: tuple[str, ...] = ()


class _Only(paramiko.MissingHostKeyPolicy):
    """Accepts the given keys; no known_hosts file is loaded, so every connection is judged here."""

    def __init__(self, accepted: Sequence[str]) -> None:
        self.accepted = accepted

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        found = f"{key.get_name()} {key.get_base64()}"
        if found not in self.accepted:
            raise WrongHostKeyError(
                f"the host key at {hostname} is {key.fingerprint}, which is not the one in the lock.\n"
                "  Somebody else answers there, or the host was reinstalled behind the lock's back: nothing was sent."
            )


def connect(address: str, login: Login, accepted: Sequence[str]) -> paramiko.SSHClient:
    """Connects to a host that proves an accepted key. Raises WrongHostKeyError, SSHException, EOFError or OSError."""
    # What it raises is told by whoever catches it; its log would print a traceback for every attempt.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_Only(accepted))
    try:
        client.connect(
            address,
            username=login.user,
            key_filename=str(login.key) if login.key else None,
            allow_agent=login.key is None,
            look_for_keys=login.key is None,
            timeout=CONNECT_S,
            banner_timeout=CONNECT_S * 2,
            auth_timeout=CONNECT_S * 2,
        )
    except BaseException:
        client.close()
        raise
    return client


def wait_for(
    name: str, address: str, login: Login, accepted: Sequence[str], report: Report, timeout_s: float
) -> paramiko.SSHClient:
    """Waits until the admin can log in. A wrong host key or having no key to offer ends it at once.

    A refused login may still be the first boot.
    """
    begun, told = time.monotonic(), 5.0
    while True:
        try:
            return connect(address, login, accepted)
        except LOST as error:
            waited = time.monotonic() - begun
            reason = f"{login.user}@{address}: {error or type(error).__name__}"
            if _hopeless(error, login):
                raise ContactError(f"no login: there is no key to offer; {reason}") from error
            if waited > timeout_s:
                raise ContactError(f"no login after {waited:.0f} s; {reason}") from error
            if waited > told:
                report(f"host/{name}: waiting for ssh ({waited:.0f} s; {reason})")
                told = waited + 10
            time.sleep(0.3)


def _hopeless(error: Exception, login: Login) -> bool:
    """Whether no key was offered. A locked one in ~/.ssh is paramiko's last word also when those of the agent were."""
    if isinstance(error, paramiko.PasswordRequiredException):
        return login.key is not None or not agent_keys()
    return str(error) == "No authentication methods available"


def run(client: paramiko.SSHClient, script: str, *arguments: str) -> str:
    """Runs a shell script as root, fed by stdin; returns its output. Raises ContactError, SSHException or OSError."""
    words = " ".join(f"'{argument}'" for argument in arguments)
    stdin, stdout, stderr = client.exec_command(f"sudo -n sh -s -- {words}", timeout=STEP_S)
    stdin.write(script)
    stdin.channel.shutdown_write()
    output, errors = stdout.read().decode(), stderr.read().decode()
    status = stdout.channel.recv_exit_status()
    if status:
        raise ContactError(f"a step of first contact exited {status}: {errors.strip() or output.strip()}")
    return output.strip()


def make(
    name: str,
    address: str,
    login: Login,
    keys: Keys,
    *,
    pin: Callable[[str], None],
    empty_user_data: Callable[[], None],
    report: Report,
) -> None:
    """Steps 1 to 6 of the module's docstring; the caller does step 7.

    Raises ContactError, WrongHostKeyError; SSHException or OSError when the connection is lost.
    """
    accepted = (keys.temporary, *keys.pinned)
    with wait_for(name, address, login, accepted, report, BOOT_S) as client:
        fresh = run(client, MAKE_KEY, keys.temporary)
        if not fresh.startswith("ssh-ed25519 ") or fresh == keys.temporary:
            raise ContactError(f"no fresh host key was made, but {fresh!r}")
        pin(fresh)
        run(client, USE_KEY)
    with wait_for(name, address, login, (fresh,), report, STEP_S) as client:
        empty_user_data()
        run(client, SCRUB)
    report(f"host/{name}: host key made there and pinned")

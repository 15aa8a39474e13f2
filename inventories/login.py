"""Whether an admin has a key to log in with, looked at before there is a host that nobody could get into.

admins.toml takes no key types but ed25519 and security keys, and of these paramiko reads ed25519 from a file: a
security key reaches a host by the agent alone.
"""

from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from inventories.errors import InputError
from inventories.inventory import ADMINS, LoadedSite

FIELD = "site.ssh_key"


def check_key(site: LoadedSite) -> None:
    """Raises InputError when no key here is one of the `ssh_keys` of the admin who logs in."""
    found = _declared(site, site.ssh_key) if site.ssh_key else _own(site)
    known = {" ".join(line.split()[:2]) for line in site.admins.admins[site.ssh_user].ssh_keys}
    if not found & known:
        what = str(site.ssh_key) if site.ssh_key else "what ssh-agent and ~/.ssh/id_ed25519 hold"
        problem = f"{what} is none of the ssh_keys of {site.ssh_user!r}"
        raise InputError(site.path, FIELD, problem, f"add the line of its .pub to {site.files / ADMINS}")


def agent_keys() -> set[str]:
    """Public keys that ssh-agent holds, `TYPE BASE64`; none when there is no agent."""
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return set()
    try:
        return {f"{key.get_name()} {key.get_base64()}" for key in agent.get_keys()}
    finally:
        agent.close()


def _declared(site: LoadedSite, key: Path) -> set[str]:
    try:
        return {_public(key)}
    except TypeError:
        hint = f"add it to ssh-agent (`ssh-add {key}`) and leave ssh_key out"
        raise InputError(site.path, FIELD, f"{key} has a passphrase, which cannot be asked for", hint) from None
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        hint = "name an ed25519 private key as ssh-keygen makes it, or leave it out for the agent and ~/.ssh"
        raise InputError(site.path, FIELD, f"{key} cannot be loaded: {error}", hint) from error


def _own(site: LoadedSite) -> set[str]:
    found = agent_keys()
    try:
        found.add(_public(Path.home() / ".ssh/id_ed25519"))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        if not found:
            problem = "no key to log in with: neither ssh-agent nor a ~/.ssh/id_ed25519 without passphrase has one"
            raise InputError(site.path, FIELD, problem, "add yours to ssh-agent: `ssh-add`") from None
    return found


def _public(path: Path) -> str:
    """The public half, `TYPE BASE64`. Raises TypeError when there is a passphrase, else OSError and what is no key."""
    key = serialization.load_ssh_private_key(path.read_bytes(), None).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()

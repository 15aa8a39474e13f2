"""Whether an admin has a key to log in with, looked at before there is a host that nobody could get into.

admins.toml takes no key types but ed25519 and security keys, and of these paramiko reads ed25519 from a file: a
security key reaches a host by the agent alone.
"""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from inventories.admins import Admin
from inventories.errors import InputError

FIELD = "site.ssh_key"


def public_half(inventory: Path, key: Path) -> str | None:
    """Of the private key that an inventory names, `TYPE BASE64`; None when a passphrase locks it. Raises InputError."""
    try:
        return _public(key)
    except TypeError:
        return None
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        hint = "name an ed25519 private key as ssh-keygen makes it, or leave it out for the agent and ~/.ssh"
        raise InputError(inventory, FIELD, f"{key} cannot be loaded: {error}", hint) from error


def check_key(inventory: Path, key: Path | None, admin: Admin, admins: Path) -> None:
    """Raises InputError when no key here is one of the admin's `ssh_keys` in the file `admins`.

    key is the one that the inventory names, if any.
    """
    if not held(inventory, key) & public_keys(admin):
        what = str(key) if key else "what ssh-agent and ~/.ssh/id_ed25519 hold"
        problem = f"{what} is none of the ssh_keys of {admin.name!r}"
        raise InputError(inventory, FIELD, problem, f"add the line of its .pub to {admins}")


def held(inventory: Path, key: Path | None) -> set[str]:
    """Public keys, `TYPE BASE64`, that this machine can log in with. Raises InputError when there are none."""
    return _declared(inventory, key) if key else _own(inventory)


def public_keys(admin: Admin) -> set[str]:
    """An admin's, `TYPE BASE64`."""
    return {" ".join(line.split()[:2]) for line in admin.ssh_keys}


def agent_keys() -> set[str]:
    """Public keys that ssh-agent holds, `TYPE BASE64`; none when there is no agent."""
    import paramiko  # A quarter of a second, which whoever needs no key of an agent need not wait for.

    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return set()
    try:
        return {f"{key.get_name()} {key.get_base64()}" for key in agent.get_keys()}
    finally:
        agent.close()


def _declared(inventory: Path, key: Path) -> set[str]:
    public = public_half(inventory, key)
    if public is None:
        hint = f"add it to ssh-agent (`ssh-add {key}`) and leave ssh_key out"
        raise InputError(inventory, FIELD, f"{key} has a passphrase, which cannot be asked for", hint)
    return {public}


def _own(inventory: Path) -> set[str]:
    found = agent_keys()
    try:
        found.add(_public(Path.home() / ".ssh/id_ed25519"))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        if not found:
            problem = "no key to log in with: neither ssh-agent nor a ~/.ssh/id_ed25519 without passphrase has one"
            raise InputError(inventory, FIELD, problem, "add yours to ssh-agent: `ssh-add`") from None
    return found


def _public(path: Path) -> str:
    """The public half, `TYPE BASE64`. Raises TypeError when there is a passphrase, else OSError and what is no key."""
    key = serialization.load_ssh_private_key(path.read_bytes(), None).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()

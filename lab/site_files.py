"""The files that an admin of a lab's site has: key, admins, secrets, and what to trust. What is there is kept."""

import secrets
from pathlib import Path
from typing import Final

from inventories import trusted
from inventories.files import replace
from lab import storage
from lab.engine import EngineError, LabConfig

DRILL_SECRET = "drill_api_key"  # noqa: S105  # its name
GERRIT_SECRET = "gerrit_token"  # noqa: S105  # its name
DNS_SECRET = "acme_dns_key"  # noqa: S105  # its name
DNS_USER: Final = {"name": "acme", "email": "acme@mainstay.invalid", "acls": ["dns"]}
"""Who may change DNS and nothing else: for challenges that are answered there."""
DECLARED: Final = Path(__file__).parent / "site"
"""What the lab's admins have declared beside the inventory."""


def write(config: LabConfig, api_key: str, drill_api_key: str) -> None:
    """Makes those that are missing. The keys are those of the lab's accounts."""
    site = config.root / "site"
    site.mkdir(mode=0o700, exist_ok=True)
    certificate, _ = storage.tls(config)
    for name in ("copy.pem", "provider.pem", trusted.ACME):
        if not (site / name).exists():
            replace(site / name, certificate.read_text(), 0o644)
    for file in DECLARED.iterdir():
        if not (site / file.name).exists():
            replace(site / file.name, file.read_text(), 0o644)
    if not (site / "secrets.age").exists():
        _write_access(site, {"vultr_api_key": api_key} | storage.keys(config))
    if _lacks(site, GERRIT_SECRET):
        _add(site, GERRIT_SECRET, secrets.token_urlsafe(32))
    if _lacks(site, DRILL_SECRET):
        from inventories.secrets import DRILL  # As in _write_access.

        _add(site, DRILL_SECRET, drill_api_key, DRILL)


def add_dns_key(config: LabConfig, api_key: str) -> None:
    """Makes the user whose key may change DNS alone, as an admin of a site would. Needs the API. Raises EngineError."""
    from cloud.client import Client, CloudError  # As in _write_access.

    site = config.root / "site"
    if not _lacks(site, DNS_SECRET):
        return
    client = Client(config.api_url, api_key)
    try:
        for user in client.list("/users", "users"):
            if user["email"] == DNS_USER["email"]:
                # Made by an `up` that was cut short: nobody was told its key.
                client.remove(f"/users/{user['id']}")
        made = client.post("/users", **DNS_USER, password="-")["user"]  # noqa: S106  # none: it has a key
    except CloudError as error:
        raise EngineError(f"the lab's API gives no key for DNS alone: {error}") from error
    _add(site, DNS_SECRET, made["api_key"])


def _write_access(site: Path, values: dict[str, str]) -> None:
    from inventories import keys  # These bring libraries along which the lab's daemon has no use for.
    from inventories.secrets import Secrets

    private = keys.new_ssh()
    public = keys.public_ssh(private)
    replace(site / "id_ed25519", private, 0o600)
    replace(site / "id_ed25519.pub", f"{public} lab\n", 0o644)
    replace(site / "admins.toml", f'[admins.lab]\nssh_keys = ["{public} lab"]\n', 0o644)
    Secrets.create(site / "secrets.age", {"lab": [public]}, values)


def _lacks(site: Path, name: str) -> bool:
    """Labs that were made before a secret was thought of lack it."""
    from inventories.secrets import read  # As in _write_access.

    return name not in read(site / "secrets.age")


def _add(site: Path, name: str, value: str, *tags: str) -> None:
    from inventories.admins import load_admins  # As in _write_access.
    from inventories.editing import Plain, apply
    from inventories.inventory import ADMINS, readers
    from inventories.secrets import read

    path = site / "secrets.age"
    apply(path, read(path), {name: Plain(value, tags)}, readers(site, load_admins(site / ADMINS)))

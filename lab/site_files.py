"""The files that an admin of a lab's site has: key, admins, secrets, and what to trust. What is there is kept."""

from pathlib import Path

from inventories.files import replace
from lab import storage
from lab.engine import LabConfig

DRILL_SECRET = "drill_api_key"  # noqa: S105  # its name


def write(config: LabConfig, api_key: str, drill_api_key: str) -> None:
    """Makes those that are missing. The keys are those of the lab's accounts."""
    site = config.root / "site"
    site.mkdir(mode=0o700, exist_ok=True)
    certificate, _ = storage.tls(config)
    for name in ("copy.pem", "provider.pem"):
        if not (site / name).exists():
            replace(site / name, certificate.read_text(), 0o644)
    if not (site / "secrets.age").exists():
        _write_access(site, {"vultr_api_key": api_key} | storage.keys(config))
    _add_drill_secret(site, drill_api_key)


def _write_access(site: Path, values: dict[str, str]) -> None:
    from inventories import keys  # These bring libraries along which the lab's daemon has no use for.
    from inventories.secrets import Secrets

    private = keys.new_ssh()
    public = keys.public_ssh(private)
    replace(site / "id_ed25519", private, 0o600)
    replace(site / "id_ed25519.pub", f"{public} lab\n", 0o644)
    replace(site / "admins.toml", f'[admins.lab]\nssh_keys = ["{public} lab"]\n', 0o644)
    Secrets.create(site / "secrets.age", {"lab": [public]}, values)


def _add_drill_secret(site: Path, value: str) -> None:
    """Labs that were made before they had the account lack it too."""
    from inventories.admins import load_admins
    from inventories.editing import Plain, apply
    from inventories.inventory import ADMINS, readers
    from inventories.secrets import DRILL, read

    path = site / "secrets.age"
    held = read(path)
    if DRILL_SECRET not in held:
        apply(path, held, {DRILL_SECRET: Plain(value, (DRILL,))}, readers(site, load_admins(site / ADMINS)))

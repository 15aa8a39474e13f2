"""What the control host has of the site's files: who there is, where, and the secrets it may read. Nothing deletes.

The secrets stay encrypted as they are, so that the same ones make the same file.
"""

from backup import custody
from backup.store import AUTHORITY
from inventories import secrets, trusted
from inventories.errors import InputError
from inventories.inventory import ADMINS, CONTROL_RECIPIENT, PROVIDER_AUTHORITY, LoadedSite

FOLDER = "/etc/mainstay/control"
PUBLIC = (ADMINS, "lock.json", custody.CERTIFICATE, CONTROL_RECIPIENT)


def files(site: LoadedSite) -> dict[str, str]:
    """Content by path on the host. Raises InputError naming what is missing and how it is made.

    Looks at all secrets of the backups: a data set whose password the control host lacks cannot be watched over.
    """
    if custody.vault_of(site):
        custody.check(site)
    entries = site.secrets.entries
    held = {
        "ssh_key": custody.secret(site, custody.SSH_KEY).get_secret_value(),
        "age_key": custody.secret(site, custody.AGE_KEY).get_secret_value(),
        "secrets.age": secrets.text({name: entries[name] for name in site.secrets.shared()}),
        **{name: _public(site, name) for name in PUBLIC},
    }
    for name in (AUTHORITY, PROVIDER_AUTHORITY, trusted.ROOTS):
        if (site.files / name).exists():
            held[name] = _public(site, name)
    return {f"{FOLDER}/{name}": content for name, content in held.items()}


def _public(site: LoadedSite, name: str) -> str:
    path = site.files / name
    try:
        return path.read_text()
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}", f"make it: {custody.command(site)}") from None

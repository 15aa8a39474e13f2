"""The two places that repositories lie in, the vault and the second copy, as one thing to those who use them."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backup.custody import ADMIN, CONTROL, DataSet
from backup.restic import Restic
from backup.restic_process import Repository
from backup.restic_s3 import s3_credentials, s3_environment
from inventories.errors import InputError
from inventories.fleet import SecondCopy
from inventories.inventory import LoadedSite

VAULT, COPY = "vault", "copy"
"""As ledgers call them."""
STORES = {"vault": VAULT, "second": COPY}
"""As admins do."""
WORDS = {VAULT: "the vault", COPY: "the second copy"}
COPY_KEYS = {
    CONTROL: ("copy_access_key", "copy_secret_key"),
    ADMIN: ("copy_admin_access_key", "copy_admin_secret_key"),
}
"""The secrets with the keys of the second copy: the control side's, which adds and sees, and the admins', which may
delete. Both are made at the storage's provider and entered by hand."""
AUTHORITY = "copy.pem"
"""In the site's folder: what to trust at the second copy, where its certificate is not of a public authority."""
RESTIC_NEEDED = (0, 17)
INSTALL_RESTIC = "install restic 0.17 or newer, as Debian 13 has it, or name another by MAINSTAY_RESTIC"


@dataclass(frozen=True)
class Store:
    """A place of repositories while it is reached."""

    site: LoadedSite
    name: str
    url: str = field(repr=False)
    """Where all of them lie."""
    ca: Path | None
    greet: Callable[[], None] = field(repr=False)
    """Raises reach.Unreachable when it does not answer: restic would try for a quarter of an hour."""
    environment: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def words(self) -> str:
        """What people call it."""
        return WORDS[self.name]

    def repository(self, data_set: DataSet) -> Repository:
        """Where a data set lies, with the password that opens it."""
        return Repository(
            f"{self.url}/{data_set.host}/{data_set.plan}",
            self.site.secrets[data_set.secret].get_secret_value(),
            cache=cache(self.site) / self.name / data_set.host / data_set.plan,
            environment=self.environment,
            credentials=self.credentials,
            ca=self.ca,
        )

    def restic(self, data_set: DataSet) -> Restic:
        """restic on it. Raises InputError when there is none on this machine."""
        return Restic(self.repository(data_set), restic_program())


def restic_program() -> str:
    """The restic that is used here. Raises InputError when there is none on this machine."""
    program = os.environ.get("MAINSTAY_RESTIC", "restic")
    if not shutil.which(program):
        raise InputError(program, "", "is not on this machine", INSTALL_RESTIC)
    return program


def second_copy(site: LoadedSite, declared: SecondCopy, listener: str, greet: Callable[[Path | None], None]) -> Store:
    """The second copy, by the keys of the control side or of admins. Raises InputError when they are not there."""
    values = []
    for name in COPY_KEYS[listener]:
        if name not in site.secrets:
            hint = (
                f"enter it: mainstay secrets edit --inventory {site.path.with_suffix('.py')}; see roles/vault/README.md"
            )
            raise InputError(site.secrets.path, name, "no such secret", hint)
        values.append(site.secrets[name].get_secret_value())
    access, secret = values
    beside = site.files / AUTHORITY
    authority = beside if beside.exists() else None
    return Store(
        site,
        COPY,
        f"s3:{declared.endpoint.rstrip('/')}/{declared.bucket}",
        authority,
        partial(greet, authority),
        s3_environment(declared.region),
        s3_credentials(access, secret),
    )


def cache(site: LoadedSite) -> Path:
    """restic's caches of a site's repositories: what they hold is encrypted and can be fetched again.

    A lab's go with it.
    """
    if not site.control and Path(site.fleet.site.files).is_absolute():
        return site.files / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mainstay" / "backup" / site.name

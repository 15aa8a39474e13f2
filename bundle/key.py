"""The key by which a site's bundles are known: its secret half among the site's secrets, the public one beside them.

One OpenPGP key signs the checksums of all files and the Release of the repository. OpenPGP, as every Debian has what
verifies it (apt comes with sqv), while ssh-keygen is not part of a stock installation; and as apt takes nothing else,
so that one key, one program and one fingerprint do for all. It is the site's and not an admin's, so a host that knows
one bundle knows the next, whoever makes it; who did is in the log of commits.

Signatures are part of what is the same when a bundle is made twice: Ed25519 has no random part, and their time is the
commit's.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from bundle import openpgp
from inventories import editing
from inventories.errors import InputError
from inventories.files import replace
from inventories.inventory import LoadedSite

SECRET, FILE = "bundle_key", "bundle.pgp"
CREATED = 1_577_836_800
"""What every key says of when it was made, 2020-01-01: a key that is newer than a signature does not count, and a
commit's time is whatever its author's clock said."""
HINT = "restore it from git, or make the first one: `mainstay bundle key`"


def make(site: LoadedSite) -> openpgp.Key | None:
    """A key for a site that has none, None where it has one; others in the file stay known. Raises InputError."""
    held = site.secrets.at(site.secrets.path)
    if SECRET in held:
        return None
    secret = Ed25519PrivateKey.generate()
    pem = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = site.files / FILE
    made = openpgp.certificate(secret, CREATED, f"Bundles of the site {site.name}")
    editing.apply(held.path, held.entries, {SECRET: editing.Plain(pem)}, site.readers)
    replace(path, (path.read_bytes() if path.exists() else b"") + made)
    return openpgp.keyring(made)[0]


def known(path: Path) -> list[openpgp.Key]:
    """The keys of a keyring. Raises InputError."""
    try:
        return openpgp.keyring(path.read_bytes())
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}", HINT) from None
    except ValueError as error:
        raise InputError(path, "", str(error), "restore it from git") from None


class Signer:
    """The site's key, decrypted. Raises InputError."""

    def __init__(self, site: LoadedSite) -> None:
        pem = site.secrets[SECRET].get_secret_value()
        secret = load_pem_private_key(pem.encode(), None)
        assert isinstance(secret, Ed25519PrivateKey)
        public, path = secret.public_key().public_bytes_raw(), site.files / FILE
        self._secret = secret
        self.keyring = path.read_bytes() if path.exists() else b""
        found = [one for one in known(path) if one.public == public]
        if not found:
            raise InputError(path, "", f"does not hold the key of the secret {SECRET!r}", "restore the two from git")
        self.key = found[0]

    def sign(self, data: bytes, when: int) -> bytes:
        """when: in Unix seconds."""
        return openpgp.sign(self._secret, self.key, data, when)

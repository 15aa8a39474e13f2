"""The files of a restic repository, without restic: by rest-server's API, or in a folder.

Restic names every file but `config` by the SHA-256 of what is in it: so one file can be proved to be there, unaltered,
for the price of fetching it. restic itself takes half a second for its password each time it starts.

The API: https://restic.readthedocs.io/en/stable/100_references.html#rest-backend
"""

import base64
import hashlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTP_PORT, HTTPS_PORT, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import unquote, urlsplit

S3 = "s3:"
TIMEOUT_S = 30
FOLDERS = ("data", "index", "keys", "locks", "snapshots")
DENIED = "its login or password is not taken: deploy the vault, then this host, so that both have the same one"
UNTRUSTED = "the certificate is not to be trusted: {}. See whether this host's clock is right; else {}"
DEPLOY = "deploy the vault, then this host"
RENEW = "have its certificate of now in copy.pem, in the folder of this host's inventory, and deploy this host"


class StoreError(Exception):
    """A repository that did not answer, or answered something else."""


class Turned(StoreError):
    """It answers, and trying again does not help: a login that is not taken, a certificate that is not right."""


@dataclass(frozen=True)
class Store:
    """A repository by its address, `rest:https://USER:PASSWORD@HOST:PORT/PATH/` or a folder.

    Of one in S3, `s3:https://HOST:PORT/BUCKET/PATH`, it is only seen whether the storage answers.

    ca: file with the only certificate to be trusted; empty for those that the system knows. Everything raises
    StoreError.
    """

    url: str = field(repr=False)
    ca: str = ""

    def get(self, name: str) -> bytes | None:
        """The content of a file, such as `config` or `keys/ID`; None if it is not there."""
        if self._is_folder:
            try:
                return Path(self.url, name).read_bytes()
            except FileNotFoundError:
                return None
            except OSError as error:
                raise StoreError(f"{self.url}: {error.strerror}") from None
        return self._ask("GET", name)

    def is_there(self) -> bool:
        """Whether there is a repository; of S3, which answers nobody without a key, True when it answers at all."""
        if not self.url.startswith(S3):
            return self.get("config") is not None
        parts = urlsplit(self.url.removeprefix(S3))
        self._exchange("HEAD", "/", parts.scheme, parts.hostname or "", parts.port)
        return True

    def has(self, name: str) -> bool:
        """Whether the file is there and is what its name says."""
        content = self.get(name)
        return content is not None and hashlib.sha256(content).hexdigest() == Path(name).name

    def keys(self) -> list[str]:
        """The names of all keys."""
        if self._is_folder:
            return sorted(file.name for file in Path(self.url, "keys").glob("*"))
        try:
            return sorted(map(str, json.loads(self._ask("GET", "keys/") or b"[]") or []))
        except (ValueError, TypeError):
            raise StoreError(f"{self._where}: lists its keys in no known form") from None

    def create(self) -> None:
        """Makes the folders of a repository, as far as they are not there."""
        if self._is_folder:
            for folder in FOLDERS:
                Path(self.url, folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            self._ask("POST", "?create=true")

    def put(self, name: str, content: bytes) -> None:
        """Adds a file."""
        if self._is_folder:
            Path(self.url, name).write_bytes(content)
        else:
            self._ask("POST", name, content)

    @property
    def _is_folder(self) -> bool:
        return not self.url.startswith(("rest:", S3))

    @property
    def _where(self) -> str:
        """The address, without its login."""
        parts = urlsplit(self.url.removeprefix("rest:").removeprefix(S3))
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def _ask(self, method: str, name: str, body: bytes | None = None) -> bytes | None:
        parts = urlsplit(self.url.removeprefix("rest:"))
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(login).decode()}"} if parts.username else {}
        path = f"{parts.path.rstrip('/')}/{name}"
        answer, content = self._exchange(method, path, parts.scheme, parts.hostname or "", parts.port, body, headers)
        if answer.status in (401, 403):
            raise Turned(f"{self._where}: {answer.status} {answer.reason}: {DENIED}")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise StoreError(f"{self._where}: {method} {name}: {answer.status} {answer.reason}")
        return content

    def _exchange(
        self,
        method: str,
        path: str,
        scheme: str,
        host: str,
        port: int | None,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> tuple[HTTPResponse, bytes]:
        """A request, and its answer, whatever it is."""
        connection = self._connection(scheme, host, port)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer, answer.read()
        except ssl.SSLCertVerificationError as error:
            remedy = RENEW if self.url.startswith(S3) else DEPLOY
            raise Turned(f"{self._where}: {UNTRUSTED.format(error.verify_message, remedy)}") from None
        except (OSError, HTTPException) as error:
            raise StoreError(f"{self._where}: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> HTTPConnection:
        if scheme == "http":
            return HTTPConnection(host, port or HTTP_PORT, timeout=TIMEOUT_S)
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:
            raise Turned(f"{self.ca}: is no certificate that can be read: {error.strerror or error}") from None
        return HTTPSConnection(host, port or HTTPS_PORT, timeout=TIMEOUT_S, context=context)

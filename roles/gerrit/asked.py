"""A restored Gerrit's REST API, asked from outside by TLS. Formats: Documentation/rest-api.html of Gerrit."""

import json
import secrets
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from backup.drills.checks import CheckFailed, Client, Restored
from backup.drills.serving import body
from inventories import keys
from inventories.files import replace as put
from roles.gerrit import secure

TOKEN_FILE = "/etc/gerrit/token"  # noqa: S105  # where a deploy puts it
PREFIX = b")]}'\n"
"""Begins every answer in JSON."""
PAGE = 500
TOKEN_ID = "drill"  # noqa: S105  # a name


@dataclass(frozen=True)
class Api:
    """As somebody; answers are read as JSON. Raises CheckFailed for what is no success."""

    client: Client
    user: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, copy: Restored) -> "Api":
        """As the administrator that a deploy makes, by the token that it has on this host."""
        return cls(copy.client, secure.ACCOUNT, copy.sh('cat "$1"', TOKEN_FILE).strip())

    @property
    def login(self) -> dict[str, str]:
        return {"Authorization": f"Basic {b64encode(f'{self.user}:{self.token}'.encode()).decode()}"}

    def get(self, path: str) -> Any:
        return self._read("GET", path, *self._answer("GET", path, None))

    def send(self, method: str, path: str, given: Any = None) -> Any:
        return self._read(method, path, *self._answer(method, path, given))

    def status(self, method: str, path: str, given: Any = None) -> int:
        return self._answer(method, path, given)[0]

    def pages(self, path: str, more: str) -> Iterator[Any]:
        """All of a list, which comes in pages. more: the field of the last one that says that there are others."""
        start = 0
        while True:
            part = self.get(f"{path}{'&' if '?' in path else '?'}n={PAGE}&S={start}")
            several: list[Any] = list(part.items()) if isinstance(part, dict) else part
            yield from several
            start += len(several)
            if not several or (more and not several[-1].get(more)) or (not more and len(several) < PAGE):
                return

    def _answer(self, method: str, path: str, given: Any) -> tuple[int, bytes]:
        if method == "GET":
            answer = self.client.get(path, **self.login)
        else:
            kind = {} if given is None else {"Content_Type": "application/json"}
            sent = b"" if given is None else json.dumps(given).encode()
            answer = self.client.send(method, path, sent, **self.login, **kind)
        return answer.status, body(answer)

    def _read(self, method: str, path: str, status: int, said: bytes) -> Any:
        if status not in (200, 201, 204):
            raise CheckFailed(f"{method} {path}: {status} {said.decode(errors='replace').strip()[:300]}")
        try:
            return json.loads(said.removeprefix(PREFIX)) if said.startswith(PREFIX) else said.decode()
        except ValueError as error:
            raise CheckFailed(f"{method} {path}: is no JSON: {error}") from None


@dataclass(frozen=True)
class Person:
    """A user of this drill alone. key: the file of the private key by which it logs in to Gerrit's ssh."""

    api: Api
    email: str
    key: Path
    folder: Path


@contextmanager
def person(copy: Restored) -> Iterator[Person]:
    """Somebody new, in no group, with a token and a key; and a folder for as long as it lasts."""
    admin, name, private = Api.of(copy), f"drill-{secrets.token_hex(4)}", keys.new_ssh()
    email, token = f"{name}@{copy.client.name}", secrets.token_urlsafe(32)
    about = {"name": f"Somebody of a drill ({name})", "email": email, "ssh_key": keys.public_ssh(private)}
    admin.send("PUT", f"/a/accounts/{name}", about)
    tokens = f"/a/accounts/{name}/tokens/{TOKEN_ID}"
    if admin.status("PUT", tokens, {"token": token}) == 404:  # before 3.13
        admin.send("PUT", f"/a/accounts/{name}/password.http", {"http_password": token})
    with TemporaryDirectory() as made:
        put(Path(made, "key"), private, 0o600)
        yield Person(replace(admin, user=name, token=token), email, Path(made, "key"), Path(made))


def name_of(project: str) -> str:
    """As a part of a path of the API."""
    return quote(project, safe="")

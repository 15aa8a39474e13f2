"""A Gerrit, asked over its REST interface as the account of this program.

python-gerrit-api keeps session, login and addresses. Lists are asked for here, by its session, as its own stop at 25
and do not page, its errors lack what the server said, and it has no calls for tokens (3.1.0).
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests
from gerrit import GerritClient
from gerrit.utils.common import decode_response
from requests.adapters import HTTPAdapter

from backup.reach import Unreachable, forwarded, reach
from inventories.inventory import LoadedSite
from roles.gerrit import secure
from roles.gerrit.settings import HTTP_PORT
from roles.gerrit.tools.server import host_of

AT_ONCE = 8
PAGE = 500
TIMEOUT_S = 60


class Refused(Exception):
    """Gerrit does not do it; says what was asked and what it answered."""


@dataclass(frozen=True)
class Request:
    """What is asked of it. body: text, or what becomes JSON; tolerated: codes that are as good as success."""

    method: str
    path: str
    body: object = None
    tolerated: tuple[int, ...] = ()


def part(name: object) -> str:
    """A name as one part of a path."""
    return quote(str(name), safe="")


class Server:
    """Its answers. Raises Unreachable when there are none, Refused when they are not the ones wanted."""

    def __init__(self, url: str, user: str, token: str, header: str = "") -> None:
        """url: without a path; user: whose token it is; header: by which Gerrit is told who somebody is."""
        session = requests.Session()
        session.trust_env = False
        session.mount("http://", HTTPAdapter(pool_connections=AT_ONCE, pool_maxsize=AT_ONCE))
        self.url, self.user, self.token = url.rstrip("/"), user, token
        self.asked = 0
        self._header = header
        self._client = GerritClient(base_url=self.url, username=user, password=token, session=session)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.session.close()

    def get(self, path: str, **params: object) -> Any:
        """What is there, or None where nothing is."""
        return self.ask(Request("GET", path, tolerated=(404,)), params)

    def ask(self, request: Request, params: Mapping[str, object] | None = None) -> Any:
        """The answer, decoded; None for a tolerated code."""
        text = isinstance(request.body, str)
        self.asked += 1
        try:
            answer = self._client.session.request(
                request.method,
                self._client.get_endpoint_url(request.path),
                params=dict(params or {}),
                json=None if text else request.body,
                data=str(request.body).encode() if text else None,
                headers={"Content-Type": "text/plain"} if text else {},
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise Unreachable(f"Gerrit does not answer: {_reason(error)}") from None
        if answer.status_code in (502, 503, 504) and "lock" not in answer.text.lower():
            raise Unreachable(f"Gerrit does not answer: {answer.status_code} {answer.reason}: {answer.text[:200]}")
        if answer.status_code == 401:
            raise Refused(f"Gerrit does not take the token of {self.user}: it is another one there, or has expired")
        if answer.status_code in request.tolerated:
            return None
        if not 200 <= answer.status_code < 300:
            said = " ".join(answer.text.split())[:500]
            raise Refused(f"{request.method} {request.path}: Gerrit answers {answer.status_code}: {said}")
        return decode_response(answer)

    def introduce(self, user: str, full_name: str, email: str) -> None:
        """Has an account made as that person's first login would. One made by `PUT /accounts/` has no identity to log
        in by, and Gerrit refuses a login whose name or address another account has (3.13.5)."""
        who = {self._header: user, "X-Gerrit-Name": full_name or user} | ({"X-Gerrit-Email": email} if email else {})
        answer = self._without_login("/login/", who)
        if "GerritAccount" not in answer.cookies:
            raise Refused(f"Gerrit makes no account {user}: {answer.status_code}; is the e-mail address another's?")

    def anybody_sees(self, path: str) -> bool:
        """Whether who has no login is told anything but that nothing is there."""
        return self._without_login(path, {}).status_code != 404

    def _without_login(self, path: str, headers: Mapping[str, str]) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            try:
                return session.get(self.url + path, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
            except requests.RequestException as error:
                raise Unreachable(f"Gerrit does not answer: {_reason(error)}") from None

    def takes(self, user: str, token: str) -> bool:
        """Whether somebody logs in by that token."""
        with Server(self.url, user, token) as other:
            try:
                return bool(other.get("/accounts/self"))
            except Refused:
                return False

    def pages(self, path: str, **params: object) -> Iterator[Any]:
        """A list's pages, until one is empty."""
        start = 0
        while page := self.get(path, n=PAGE, S=start, **params):
            yield page
            start += len(page)

    def content(self, project: str, commit: str, file: str) -> str:
        """Of a file in a commit; empty where there is none."""
        found = self.get(f"/projects/{part(project)}/commits/{commit}/files/{part(file)}/content")
        return base64.b64decode(found or "").decode(errors="replace")

    @property
    def version(self) -> tuple[int, ...]:
        text = str(self.get("/config/server/version"))
        return tuple(int(one) for one in text.split("-")[0].split(".") if one.isdigit())


def _reason(error: requests.RequestException) -> str:
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", inner)).rpartition(": ")[2] or type(error).__name__


@contextmanager
def connected(site: LoadedSite) -> Iterator[Server]:
    """A site's running Gerrit as its administrator: through ssh, to the port that it has on its host's loopback.

    Raises InputError; Unreachable when its host is.
    """
    host, token = host_of(site), secure.token(site)
    header = secure.header(token).get_secret_value()
    with (
        reach(site) as way,
        forwarded(way.config, host, HTTP_PORT) as port,
        Server(f"http://127.0.0.1:{port}", secure.ACCOUNT, token.get_secret_value(), header) as server,
    ):
        yield server

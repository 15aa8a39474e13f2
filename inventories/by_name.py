"""A web server asked by its name, at whichever address. Apart from `trusted`, since requests takes long to load."""

import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter


def session(name: str, trusting: ssl.SSLContext) -> requests.Session:
    """Asks a server by its name, at whichever address an https URL says: by proxies or netrc it is never led astray."""
    made = requests.Session()
    made.trust_env = False
    made.headers["Host"] = name
    made.mount("https://", _ByName(name, trusting))
    return made


class _ByName(HTTPAdapter):
    """TLS with one server. requests itself would add the authorities that it brings along."""

    def __init__(self, name: str, trusting: ssl.SSLContext) -> None:
        self._tls = {"ssl_context": trusting, "server_hostname": name, "assert_hostname": name}
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **more, **self._tls)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """The server's address, and no more about TLS than the pool knows."""
        address, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return address, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """The context has it all."""

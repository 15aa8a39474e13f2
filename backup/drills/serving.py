"""What the checks of web servers share: TLS, paths as they are asked for, bodies as they are shown, samples by turn."""

import io
import re
import zlib
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import quote

from cryptography import x509

from backup.drills.checks import Answer, Check, CheckFailed, Client, Evidence, Restored
from backup.drills.on_host import python

Item = TypeVar("Item")
SERVER_FILE = "/etc/nginx/server.inc"
"""What every site of nginx includes: its root stands here (roles/common/nginx)."""
CERTIFICATE_FILE = "/var/lib/mainstay/tls/site.pem"
"""Key and certificate, as nginx has them (roles/common/nginx). A drill's host signs its own: no authority knows it."""
QUIET = {"certificate": {"challenge": "none"}}
"""Settings of a drill's web server: names below a drill's own are of no use to an authority."""
ANOTHER_NAME = "another.example"
ANOTHERS = f"""
made=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout - -days 30 -subj / \\
    -addext subjectAltName=critical,DNS:{ANOTHER_NAME} 2>/dev/null)
echo "$made" >"$1"
systemctl restart nginx.service
"""
OTHER_SITE = "/opt/another-site"
SWAP = """
import json, os, pathlib, re, sys
conf, other = map(pathlib.Path, sys.argv[1:])
other.mkdir(parents=True, exist_ok=True)
for name in ("index.html", "404.html"):
    page = other / name
    page.write_text("<!doctype html><title>Another site</title><p>Nothing of this is ours.</p>")
    page.chmod(0o644)
other.chmod(0o755)
text, count = re.subn(r"(?m)^root [^;]+;", f"root {other};", conf.read_text())
conf.write_text(text)
print(json.dumps(count))
"""


def own_certificate(copy: Restored) -> str:
    """The server's certificate as it lies on the host, in PEM. Raises CheckFailed."""
    return copy.sh('openssl x509 -in "$1"', CERTIFICATE_FILE)


def certificate(copy: Restored) -> Evidence:
    """Users get to the server by TLS: with the certificate that lies on the host, for the name that they ask for."""
    shown = x509.load_pem_x509_certificate(copy.client.certificate().encode())
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    told = ", ".join(names.get_values_for_type(x509.DNSName))
    return Evidence((f"for {told}, until {shown.not_valid_after_utc:%Y-%m-%d}",))


CERTIFICATE = Check(
    "certificate",
    "the server is reached by TLS, and shows that it is the one that is asked for",
    "the certificate on the host, which is read there and no other believed, and the host's name",
    certificate,
)


def url(path: str) -> str:
    """A path below the document root as it is asked for."""
    return quote(f"/{path.lstrip('/')}", errors="surrogateescape")


def body(answer: Answer) -> bytes:
    """What a browser shows: decompressed, if it came compressed. Raises CheckFailed."""
    if answer.headers.get("content-encoding") != "gzip":
        return answer.body
    try:
        return zlib.decompress(answer.body, wbits=31)
    except zlib.error as error:
        raise CheckFailed(f"a body that is called gzip cannot be decompressed: {error}") from None


def media_type(answer: Answer) -> str:
    """Without its parameters; empty if there is none."""
    return answer.headers.get("content-type", "").partition(";")[0].strip()


def length(answer: Answer) -> int | None:
    """Of the whole file: as Content-Range or Content-Length says."""
    whole = re.search(r"/(\d+)$", answer.headers.get("content-range", "")) or re.fullmatch(
        r"(\d+)", answer.headers.get("content-length", "")
    )
    return int(whole[1]) if whole else None


def in_turn(items: Sequence[Item], turn: int, count: int) -> list[Item]:
    """So many of them, other ones each turn: all have come after `turns` turns."""
    size = len(items)
    return [items[place % size] for place in range(turn * count, turn * count + min(count, size))]


def turns(items: Sequence[object], count: int) -> int:
    """How many turns of `in_turn` it takes until all have come."""
    return max(1, -(-len(items) // count))


class Ranges(io.RawIOBase):
    """A file on a server as a file, read by bounded ranges: some update clients look into packages so."""

    def __init__(self, client: Client, path: str, size: int) -> None:
        self.client, self.path, self.size, self.at = client, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: "memoryview[int] | bytearray") -> int:  # type: ignore[override]
        last = min(self.at + len(buffer), self.size) - 1
        if last < self.at:
            return 0
        answer = self.client.get(self.path, Range=f"bytes={self.at}-{last}")
        if answer.status != 206 or len(answer.body) != last - self.at + 1:
            raise CheckFailed(f"{self.path}: bytes {self.at}-{last} are answered by {answer.status}")
        buffer[: len(answer.body)] = answer.body
        self.at = last + 1
        return len(answer.body)


def another_site(copy: Restored) -> str:
    """A fault: the server answers with another site's content."""
    if not python(copy, SWAP, SERVER_FILE, OTHER_SITE):
        raise CheckFailed(f"{SERVER_FILE}: names no root that could be swapped")
    copy.sh("systemctl restart nginx.service")
    return f"the server's root is another site's: {OTHER_SITE}"


def anothers_certificate(copy: Restored) -> str:
    """A fault: the server shows a certificate, with its key, that is for another name."""
    copy.sh(ANOTHERS, CERTIFICATE_FILE)
    return f"the server's certificate is that of {ANOTHER_NAME}"

"""From Debian's tor-geoipdb to lists that nginx reads: /var/lib/mainstay/countries/ipv4.conf and ipv6.conf.

tor-geoipdb's lines are FIRST,LAST,COUNTRY: decimal numbers in `geoip`, addresses in `geoip6`; ascending, apart, `??`
where nobody knows, comments begin with `#`. nginx (ngx_http_geo_module) takes ranges of IPv4 alone; of IPv6 it builds a
tree in memory, so networks smaller than /40, half of all and seldom of phones, go by their surroundings.

A list's first line says what it was made of and by: nothing is done while that is so. nginx, as www-data, cannot write
the binary form of ranges that it makes of a list (NAME.bin, 8 MB in place of 90 in memory): root has it made here.
nginx reloads when it runs.
"""

import hashlib
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from socket import AF_INET6, inet_ntoa, inet_ntop, inet_pton
from tempfile import NamedTemporaryFile

SOURCE = Path("/usr/share/tor")
LISTS = Path("/var/lib/mainstay/countries")
UNKNOWN = "??"
BITS = 40
HOST_BITS = 128 - BITS
ONLY_RANGES = "events {} http { access_log off; geo $country { ranges; include FILE; } }"
"""As little for nginx to read as there can be, around a list."""
Range = tuple[int, int, str]
"""First and last address, and the country."""


def number(address: str) -> int:
    """An IPv4 address, which is a number already, or an IPv6 one."""
    return int.from_bytes(inet_pton(AF_INET6, address)) if ":" in address else int(address)


def ranges(lines: Iterable[str]) -> Iterator[Range]:
    """Of either file, those that belong to a country; neighbours of one country as one. Raises ValueError."""
    last: Range | None = None
    for line in lines:
        if line.startswith("#"):
            continue
        begin, end, country = line.strip().split(",")
        if country == UNKNOWN:
            continue
        if len(country) != 2 or not country.isalpha():
            raise ValueError(f"not a country: {line!r}")
        first, final = number(begin), number(end)
        if last and last[2] == country and last[1] + 1 == first:
            last = (last[0], final, country)
            continue
        if last:
            yield last
        last = (first, final, country)
    if last:
        yield last


def ipv4(lines: Iterable[str]) -> Iterator[str]:
    """Lines of a `geo` block with `ranges`."""
    for first, last, country in ranges(lines):
        yield f"{inet_ntoa(first.to_bytes(4))}-{inet_ntoa(last.to_bytes(4))} {country};\n"


def ipv6(lines: Iterable[str]) -> Iterator[str]:
    """Lines of a `geo` block: networks of at most BITS bits, none within another."""
    used = -1
    for first, last, country in ranges(lines):
        begin, end = max(first >> HOST_BITS, used + 1), last >> HOST_BITS
        if last - first + 1 < 1 << HOST_BITS or begin > end:
            continue
        used = end
        while begin <= end:
            bits = min((begin & -begin or 1 << BITS).bit_length(), (end - begin + 1).bit_length()) - 1
            network = inet_ntop(AF_INET6, (begin << HOST_BITS).to_bytes(16))
            yield f"{network}/{BITS - bits} {country};\n"
            begin += 1 << bits


MADE_OF = {LISTS / "ipv4.conf": (SOURCE / "geoip", ipv4), LISTS / "ipv6.conf": (SOURCE / "geoip6", ipv6)}


def origin(source: Path) -> str:
    """What a list is made of and by, as its first line says."""
    found = source.stat()
    program = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return f"# {program} {found.st_size} {found.st_mtime_ns}\n"


def said(made: Path) -> str:
    """A list's first line."""
    if not made.exists():
        return ""
    with made.open() as lines:
        return lines.readline()


def binary() -> None:
    """Has nginx make the binary form of the ranges."""
    ranges_ = LISTS / "ipv4.conf"
    Path(f"{ranges_}.bin").unlink(missing_ok=True)
    with NamedTemporaryFile("w") as config:
        config.write(ONLY_RANGES.replace("FILE", str(ranges_)))
        config.flush()
        subprocess.run(["nginx", "-t", "-q", "-e", "stderr", "-c", config.name, "-g", "pid /dev/null;"], check=True)


def main() -> None:
    due = {made: how for made, how in MADE_OF.items() if said(made) != origin(how[0])}
    if not due:
        return
    LISTS.mkdir(mode=0o755, exist_ok=True)
    for made, (source, lines) in due.items():
        new = made.with_suffix(".new")
        with source.open() as read, new.open("w") as written:
            written.write(origin(source))
            written.writelines(lines(read))
        new.chmod(0o644)
        new.rename(made)
    binary()
    if subprocess.run(["systemctl", "is-active", "-q", "nginx.service"], check=False).returncode == 0:
        subprocess.run(["systemctl", "--no-block", "reload", "nginx.service"], check=True)


if __name__ == "__main__":
    main()

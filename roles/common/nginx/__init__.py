"""nginx as all web roles run it: unprivileged, sandboxed, no addresses in its log; roles add their sites in http.d."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field

from inventories.errors import InputError
from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from inventories.typed import Name, Typed
from roles.common import Listen, Opening, Unit
from roles.common.nginx import certificate
from roles.common.nginx.certificate import Certificate
from roles.common.volume_plan import unit_name

TREE = Path(__file__).parent / "tree"
COUNTRIES = "/var/lib/mainstay/countries"
"""The lists by which nginx knows a client's country, as countries.py makes them on the host."""
PACKAGES: dict[str, str | None] = dict.fromkeys(("nginx", "libnginx-mod-http-headers-more-filter", "tor-geoipdb"))
PORTS = (80, 443)
OPENINGS = tuple(Opening(protocol="tcp", port=port) for port in PORTS)
LISTENS = tuple(Listen(protocol="tcp", port=port) for port in PORTS)
UNITS = (
    Unit("nginx.service", files=("/etc/nginx",), reload=True),
    Unit("mainstay-certificate.timer", files=("/etc/systemd/system/mainstay-certificate.service",)),
    Unit("mainstay-countries.path", files=("/etc/systemd/system/mainstay-countries.service",)),
    Unit("mainstay-requests.timer", files=("/etc/systemd/system/mainstay-requests.service",)),
    Unit("certbot.timer", enabled=False, running=False),
    Unit("tor.service", enabled=False, running=False),
)
"""Debian's certbot.timer renews what certbot looks after by itself, which is nothing here; tor comes with its lists."""
# nginx -t opens log and temporary files: as root it would leave them to root. It needs the lists of countries.
CHECK = (
    f"python3 -I {certificate.PROGRAM} placeholder && "
    "mount -t tmpfs tmpfs /var/log && mkdir /var/log/http && mount -t tmpfs tmpfs /var/lib/nginx && "
    "python3 -I /usr/local/lib/mainstay/countries.py && "
    "nginx -t -q -c /etc/nginx/http.conf -g 'pid /var/log/nginx.pid;'"
)
VALIDATE = {
    "/etc/nginx/*": CHECK,
    "/etc/systemd/system/mainstay-certificate.*": "systemd-analyze verify mainstay-certificate.timer",
}
DIRECTORIES = ("/etc/nginx", "/etc/nginx/http.d")
MODES = dict.fromkeys(DIRECTORIES, "0755") | certificate.MODES
OWNERS = dict.fromkeys(DIRECTORIES, "root:root") | certificate.OWNERS
SECRET = (certificate.DNS,)


class HttpSettings(Typed):
    """Settings that all web roles share."""

    volume: Name = "content"
    """The host's volume that holds the content, in its folder `public`."""
    connections: int = Field(default=16384, ge=512, le=262144)
    """That each of nginx's processes holds at once; there is one for each core. Some 8,000 for each GiB of memory."""
    connections_per_address: int = Field(default=4096, ge=1, le=65535)
    """Downloads at once of an IPv4 address. Thousands of phones share one; a phone that is refused an incremental
    takes the whole package instead: high enough for them, low enough for nobody to take all."""
    connections_per_network: int = Field(default=256, ge=1, le=65535)
    """Downloads at once of an IPv6 network of 64 bits, which is one household or phone. By HTTP/2 each request counts,
    and a browser may have 128 under way."""
    log_days: int = Field(default=3, ge=1, le=30)
    """Requests are counted daily, and their log (which holds no addresses) is destroyed then. It is after so many days
    even where it could not be counted."""
    certificate: Certificate = Certificate()
    """Where the certificate comes from."""
    hsts_seconds: int = Field(default=31_536_000, ge=0, le=63_072_000)
    """How long browsers that were here once come by TLS alone (RFC 6797). A year; 0 takes it back."""


def content_volume(site: LoadedSite, host_name: str, settings: HttpSettings) -> Volume:
    """The volume the settings name. Raises InputError when the host does not declare it."""
    volumes = site.fleet.hosts[host_name].volumes
    if settings.volume not in volumes:
        hint = f"declare volumes.{settings.volume} = {{ size_gb = ..., mount = ... }}, or name another in the settings"
        raise InputError(
            site.path, f"hosts.{host_name}.volumes", f"no volume {settings.volume!r} for the content", hint
        )
    return volumes[settings.volume]


def packages(settings: HttpSettings) -> dict[str, str | None]:
    """What nginx and its certificate need."""
    return PACKAGES | certificate.packages(settings.certificate)


def files(
    site: LoadedSite,
    host_name: str,
    settings: HttpSettings,
    methods: tuple[str, ...],
    dot_directories: tuple[str, ...],
    never_redirected: tuple[str, ...] = (),
) -> dict[str, str]:
    """The shared files by their path on the host. Raises InputError.

    dot_directories: those that are served, and no other. never_redirected: folders whose clients follow no redirect:
    without TLS they get an error.
    """
    loader = Environment(  # noqa: S701  # configuration, not HTML
        loader=FileSystemLoader(TREE), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    volume = content_volume(site, host_name, settings)
    context = settings.model_dump() | {
        "root": f"{volume.mount}/public",
        "mount": volume.mount,
        "mount_unit": unit_name(volume.mount),
        "methods": methods,
        "dot_directories": dot_directories,
        "countries": COUNTRIES,
        "never_redirected": never_redirected,
        "names": certificate.names(site, host_name),
        "peers": certificate.peers(site, host_name),
        "certificate": certificate.CERTIFICATE,
        "challenges": certificate.CHALLENGES,
        "program": certificate.PROGRAM,
    }
    own = {
        f"/{name.removesuffix('.j2')}": loader.get_template(name).render(context)
        for name in loader.list_templates(filter_func=lambda name: "__pycache__" not in name)
    }
    return own | certificate.files(site, host_name, settings.certificate)


def absent(site: LoadedSite, settings: HttpSettings) -> tuple[str, ...]:
    """What other settings may have left."""
    return certificate.absent(site, settings.certificate)

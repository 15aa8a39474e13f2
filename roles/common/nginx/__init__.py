"""nginx as all web roles run it: unprivileged, sandboxed, no addresses in its log. A role adds its sites in http.d."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field

from inventories.errors import InputError
from inventories.fleet import Name, Typed, Volume
from inventories.inventory import LoadedSite
from roles.common import Listen, Opening, Unit
from roles.common.volume_plan import unit_name

TREE = Path(__file__).parent / "tree"
PACKAGES: dict[str, str | None] = dict.fromkeys(("nginx", "libnginx-mod-http-headers-more-filter", "logrotate"))
OPENINGS = (Opening(protocol="tcp", port=80),)
LISTENS = (Listen(protocol="tcp", port=80),)
UNITS = (Unit("nginx.service", files=("/etc/nginx",), reload=True),)
# nginx -t opens log and temporary files: as root it would leave them to root.
CHECK = (
    "mount -t tmpfs tmpfs /var/log && mkdir /var/log/http && mount -t tmpfs tmpfs /var/lib/nginx && "
    "nginx -t -q -c /etc/nginx/http.conf -g 'pid /var/log/nginx.pid;'"
)
VALIDATE = {"/etc/nginx/*": CHECK}
DIRECTORIES = ("/etc/nginx", "/etc/nginx/http.d")
MODES = dict.fromkeys(DIRECTORIES, "0755")
OWNERS = dict.fromkeys(DIRECTORIES, "root:root")


class HttpSettings(Typed):
    """Settings that all web roles share."""

    volume: Name = "content"
    """The host's volume that holds the content, in its folder `public`."""
    connections_per_address: int = Field(default=256, ge=1, le=65535)
    """At once. Whole mobile networks share an address: high enough for them, low enough for nobody to take all."""
    log_days: int = Field(default=3, ge=1, le=30)
    """Days that request logs (which hold no addresses) are kept."""


def content_volume(site: LoadedSite, host_name: str, settings: HttpSettings) -> Volume:
    """The volume the settings name. Raises InputError when the host does not declare it."""
    volumes = site.fleet.hosts[host_name].volumes
    if settings.volume not in volumes:
        hint = f"declare volumes.{settings.volume} = {{ size_gb = ..., mount = ... }}, or name another in the settings"
        raise InputError(
            site.path, f"hosts.{host_name}.volumes", f"no volume {settings.volume!r} for the content", hint
        )
    return volumes[settings.volume]


def files(
    settings: HttpSettings, volume: Volume, methods: tuple[str, ...], dot_directories: tuple[str, ...]
) -> dict[str, str]:
    """The shared files by their path on the host. Dot directories other than these are not served."""
    loader = Environment(  # noqa: S701  # configuration, not HTML
        loader=FileSystemLoader(TREE), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    context = settings.model_dump() | {
        "root": f"{volume.mount}/public",
        "mount": volume.mount,
        "mount_unit": unit_name(volume.mount),
        "methods": methods,
        "dot_directories": dot_directories,
    }
    return {
        f"/{name.removesuffix('.j2')}": loader.get_template(name).render(context) for name in loader.list_templates()
    }

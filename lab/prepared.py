"""The provider's image with a role's packages in place: half the work of a first deploy, for labs of which something
else is asked.

A lab that is `prepare`d makes a new host by its tag `role:NAME` of such an image; each is built once for each recipe.
Those of virtual machines are built with the first that needs one.
A package that is missing here is installed by the deploy, as on any other host.
"""

from collections.abc import Sequence

from lab import derived
from lab.engine import LabConfig
from roles.signing import software

BASE = ("chrony", "nullmailer", "unattended-upgrades")
HTTP = ("restic", "rsync", "nginx", "libnginx-mod-http-headers-more-filter", "tor-geoipdb", "certbot")
EXPORTING = ("prometheus-node-exporter", "systemd-journal-remote")
MONITOR = (*EXPORTING, "prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter")
PACKAGES = {
    "base": BASE,
    "control": (*BASE, "restic", "rsync", "git"),
    "gerrit": (*BASE, *HTTP, "openjdk-21-jre-headless", "git", "btrfs-progs"),
    "gitmirror": (*BASE, *HTTP, "fcgiwrap", "git"),
    "monitor": (*BASE, *MONITOR),
    "release": (*BASE, *HTTP),
    "signing": (*BASE, *software.MINIMUM, *software.PINNED),
    "vault": (*BASE, "restic-rest-server"),
    "web": (*BASE, *HTTP),
}
"""By role."""
PREFIX = "prepared/"
MARK = "prepared"


def prepare(config: LabConfig) -> None:
    """From now on new hosts of this lab are prepared. The package cache runs. Raises EngineError."""
    for role, packages in PACKAGES.items():
        derived.build(image_id(f"{PREFIX}{role}"), f"what hosts with the role {role} need", packages)
    (config.root / MARK).touch()


def image_for(config: LabConfig, tags: list[str]) -> str:
    """What a host with these tags is made of, as `lab.engine.Machine.image` has it."""
    role = next((role for role in PACKAGES if f"role:{role}" in tags), "")
    return f"{PREFIX}{role}" if role and (config.root / MARK).exists() else "debian-13"


def packages_of(name: str) -> Sequence[str]:
    """That a machine's image has beside the provider's."""
    return PACKAGES[name.removeprefix(PREFIX)] if name.startswith(PREFIX) else ()


def image_id(name: str) -> str:
    """Of a container's image. One of an older recipe is none of this."""
    role = name.removeprefix(PREFIX)
    return derived.image_id(role, str(PACKAGES[role]))

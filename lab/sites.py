"""Inventories for labs by another name than `lab`: inventories/lab.toml with that lab's address and files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit

from lab import authority, repositories, storage
from lab.engine import LabConfig

REPOSITORY = Path(__file__).parent.parent
LAB_TOML = REPOSITORY / "inventories/lab.toml"
GERRIT = "gerrit-1"


def derive(config: LabConfig, folder: Path, change: Callable[[Any], None] = lambda _: None) -> Path:
    """Writes NAME.py and NAME.toml into folder and returns the former's path.

    change may edit the TOML document first: take hosts away, add volumes, alter settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document: Any = tomlkit.parse(LAB_TOML.read_text())
    document["site"]["name"] = config.name
    document["site"]["files"] = str(config.root / "site")
    document["provider"]["api_url"] = config.api_url
    document["drill"]["api_url"] = config.drill_api_url
    document["backup"]["copy"]["endpoint"] = storage.endpoint(config)
    for role in ("release", "web", "gerrit"):
        document["settings"][role]["certificate"]["directory"] = authority.directory(config)
    document["settings"]["control"]["mirrors"]["checksums"] = repositories.CHECKSUMS.url(config)
    document["settings"]["control"]["mirrors"]["release-metadata"] = repositories.METADATA.url(config)
    document["settings"]["release"]["checksums_push"] = str(repositories.CHECKSUMS.path(config))
    document["settings"]["release"]["metadata"] = str(repositories.METADATA.path(config))
    change(document)
    inventory = folder / f"{config.name}.py"
    inventory.write_text(LAB_TOML.with_suffix(".py").read_text())
    inventory.with_suffix(".toml").write_text(tomlkit.dumps(document))
    return inventory


def only(document: Any, *names: str) -> None:
    """Takes all other hosts out of a TOML document, and with Gerrit the sources on it, which nobody could audit."""
    for other in document["hosts"].keys() - {*names}:
        del document["hosts"][other]
    if GERRIT not in names:
        document["settings"]["control"].pop("sources", None)

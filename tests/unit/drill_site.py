"""A site that declares drills, as a laptop has it: the lab's inventory, secrets, hosts that were provisioned."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from backup import custody
from backup.custody import DataSet
from backup.drills import account
from backup.drills.account import Thing
from inventories import keys
from inventories.editing import Plain, apply
from inventories.inventory import LoadedSite, load_site
from inventories.lock import Lock, LockedHost, save
from lab.sites import LAB_TOML, only
from tests.unit.lab_api import DRILL_KEY, KEY, Client, serve

DATA = DataSet("release-1", "release")
DOMAIN = "drill.lab.example.org"
ADDRESSES = {name: f"192.0.2.{at}" for at, name in enumerate(("release-1", "web-1", "vault-1", "control-1"), 1)}
BY_HAND = {
    "vultr_api_key": KEY,
    "drill_api_key": DRILL_KEY,
    "copy_access_key": "reader",
    "copy_secret_key": "of the reader",
}


def drill_site(folder: Path, api_url: str = "https://192.0.2.99/v2", **drill: Any) -> LoadedSite:
    """drill: what is declared under [drill] besides."""
    files = folder / "site"
    files.mkdir(parents=True)
    private = keys.new_ssh()
    (files / "id_ed25519").write_text(private)
    (files / "id_ed25519").chmod(0o600)
    (files / "id_ed25519.pub").write_text(f"{keys.public_ssh(private)} lab\n")
    (files / "admins.toml").write_text(f'[admins.lab]\nssh_keys = ["{keys.public_ssh(private)} lab"]\n')
    document: Any = tomlkit.parse(LAB_TOML.read_text())
    only(document, *ADDRESSES)
    document["site"]["files"] = str(files)
    document["drill"].update({"api_url": api_url} | drill)
    document["provider"]["api_url"] = api_url
    path = folder / "lab.toml"
    path.write_text(tomlkit.dumps(document))
    locked = {
        name: LockedHost(instance_id=f"i-{name}", ipv4=address, ipv6=f"2001:db8::{address.rpartition('.')[2]}")
        for name, address in ADDRESSES.items()
    }
    save(files / "lock.json", Lock(hosts=locked))
    site = load_site(path)
    apply(files / "secrets.age", {}, {name: Plain(value) for name, value in BY_HAND.items()}, site.readers)
    custody.make(load_site(path))
    return load_site(path)


@dataclass
class Cloud:
    """The lab's API, the drills' account of it, and the site that drills are of."""

    main: Client
    drills: Client
    site: LoadedSite

    def make(self, site: str, **host: Any) -> None:
        """One thing of each kind, as a drill makes them; the host holds the volume."""
        api = self.drills
        firewall = self._make("/firewalls", {"description": f"mainstay:{site}:drill"})
        vpc = self._make("/vpcs", {"region": "ams", "description": f"mainstay:{site}:inside"})
        tags = [f"mainstay:{site}:release-1", "role:release"]
        made = api.instance(label="release-1", tags=tags, firewall_group_id=firewall, attach_vpc=[vpc], **host)
        block = self._make("/blocks", {"region": "ams", "size_gb": 10, "label": f"{site}/release-1/content"})
        assert api("POST", f"/blocks/{block}/attach", {"instance_id": made["id"], "live": True})[0] == 204
        self._make("/domains", {"domain": f"{site}.{DOMAIN}", "ip": "192.0.2.1"})

    def _make(self, path: str, body: Any) -> str:
        status, answer = self.drills("POST", path, body)
        assert status < 300, answer
        (made,) = answer.values()
        return str(made.get("id", ""))

    def look(self) -> list[Thing]:
        return account.look(account.client(self.site, pytest.fail), DOMAIN)

    def destroy(self, *names: str, **how: Any) -> tuple[list[str], list[str]]:
        """The kinds of what is gone, and what was said against it."""
        made, problems = account.destroy(self.site, names, lambda _: None, **how)
        return sorted(one.kind for one in made if one.gone), problems


@contextmanager
def drill_cloud(folder: Path, **drill: Any) -> Iterator[Cloud]:
    """drill: what is declared under [drill] besides."""
    with serve(folder) as main:
        yield Cloud(main, replace(main, key=DRILL_KEY), drill_site(folder, f"{main.base}/v2", **drill))

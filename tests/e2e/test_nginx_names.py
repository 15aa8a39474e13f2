"""nginx as web roles configure it takes any name that a host may have: those of drills are long."""

from pathlib import Path

import pytest

from backup.certificate import new_key, self_signed
from inventories import trusted
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from lab import nginx

DOMAIN = "example.org"
LONGEST = ".".join(["a" * 58] * 4) + f".{DOMAIN}"


@pytest.mark.parametrize("name", [f"release.drill-261126-2144-exzy-2611270344.drill.{DOMAIN}", LONGEST])
def test_a_name_may_be_as_long_as_dns_has_them(name: str, tmp_path: Path) -> None:
    volumes = {"content": {"size_gb": 10, "mount": "/srv/release"}}
    host = {"role": "release", "plan": "p", "region": "ams", "dns": [name], "volumes": volumes}
    fleet = Fleet.model_validate({"site": {"name": "x", "domain": DOMAIN}, "hosts": {"release-1": host}})
    key = new_key()
    certificate = self_signed(key, (name,))
    (tmp_path / "site.pem").write_text(key + certificate)
    for folder in ("volume", "nginx"):
        (tmp_path / folder).mkdir()
    site = LoadedSite(tmp_path / "x.toml", fleet)
    with nginx.serving(site, "release-1", tmp_path / "volume", tmp_path / "nginx", tmp_path / "site.pem") as port:
        shown = trusted.certificate(name, "127.0.0.1", trusted.pinned(certificate), port)
    assert shown == certificate

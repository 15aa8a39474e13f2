"""The lab's API by https, to those who trust the certificate beside their site's files and to nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.certificate import new_key, self_signed
from cloud import client as module
from cloud.client import Client, CloudError
from cloud.provision import account
from inventories.inventory import LoadedSite, load_site
from inventories.keys import new_ssh, public_ssh
from inventories.secrets import Secrets
from lab import storage
from lab.engine import LabConfig
from tests.unit import lab_api


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, Path]:
    """As a lab has it."""
    return storage.tls(LabConfig("unit", 15, tmp_path))


@pytest.fixture
def api(tmp_path: Path, tls: tuple[Path, Path]) -> Iterator[lab_api.Client]:
    with lab_api.serve(tmp_path, tls=tls) as client:
        yield client


@pytest.fixture
def site(tmp_path: Path) -> LoadedSite:
    files, private = tmp_path / "site", new_ssh()
    files.mkdir()
    (files / "key").write_text(private)
    Secrets.create(files / "secrets.age", {"a": [public_ssh(private)]}, {"drill_api_key": lab_api.DRILL_KEY})
    host = '[hosts.web-1]\nrole = "base"\nplan = "p"\nregion = "ams"\n'
    (tmp_path / "site.toml").write_text(f'[site]\nname = "site"\ndomain = "example.org"\nssh_key = "key"\n{host}')
    return load_site(tmp_path / "site.toml")


def other(folder: Path) -> Path:
    """Another server's certificate."""
    (folder / "other.pem").write_text(self_signed(new_key(), ("127.0.0.1",)))
    return folder / "other.pem"


def connected(site: LoadedSite, api: lab_api.Client) -> Client:
    return account(site, f"{api.base}/v2", "drill_api_key", print)


def test_an_account_is_reached_by_what_lies_beside_the_sites_files(
    site: LoadedSite, api: lab_api.Client, tls: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.files / "provider.pem").write_bytes(tls[0].read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other(tmp_path)))
    assert connected(site, api).get("/account")["account"]["email"].startswith("drill@")


@pytest.mark.parametrize("trusted", ["nothing", "another"])
def test_a_server_of_another_certificate_gets_no_key(
    site: LoadedSite, api: lab_api.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str
) -> None:
    monkeypatch.setattr(module, "NEVER_ANSWERED_S", 0)
    if trusted == "another":
        (site.files / "provider.pem").write_bytes(other(tmp_path).read_bytes())
    with pytest.raises(CloudError, match="certificate verify failed"):
        connected(site, api).get("/account")

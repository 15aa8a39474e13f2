"""What the control host is given: the same bytes for the same sources, and nothing that it has no business with."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from cloud.client import Client, Item
from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from roles.control import software, zones
from roles.control.settings import Settings
from tests.unit.lab_api import KEY, serve
from tests.unit.lab_api import Client as Lab

PROD = REPOSITORY / "inventories/prod.toml"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with serve(tmp_path_factory.mktemp("api")) as client:
        yield client


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def test_the_same_files_make_the_same_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    one = software.packed({"b/c.py": b"c", "a.py": b"a"})
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert one == software.packed({"a.py": b"a", "b/c.py": b"c"})
    assert names(one) == ["a.py", "b/c.py"]
    assert one != software.packed({"a.py": b"a", "b/c.py": b"d"})


def test_the_project_goes_with_one_inventory_and_without_files_of_sites() -> None:
    sent = names(software.project(load_site(PROD)))
    assert {"cli/main.py", "backup/watch.py", "roles/control/settings.py", "inventories/prod.toml"} <= set(sent)
    assert [name for name in sent if name.endswith(".toml")] == ["inventories/prod.toml"]
    assert not [name for name in sent if name.startswith(("tests", "lab/", "inventories/prod/"))]
    assert not [name for name in sent if name.endswith((".age", ".json", ".pem"))]


def test_the_control_host_gives_on_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no clone, no git's list and no registry; the inventory of another site takes the place of its own."""
    given = {"project": software.project(load_site(PROD)), "packages": b"as they came"}
    for name, content in given.items():
        (tmp_path / f"{name}.tar.gz").write_bytes(content)
        monkeypatch.setattr(software, name.upper(), tmp_path / f"{name}.tar.gz")
    monkeypatch.setattr(software, "CLONE", tmp_path)
    other = tmp_path / "drill.toml"
    other.write_text(PROD.read_text())
    packages, project = software.archives(load_site(other)).values()
    assert packages == b"as they came"
    sent = set(names(given["project"])) - {"inventories/prod.toml"} | {"inventories/drill.toml"}
    assert set(names(project)) == sent


def test_packages_are_fetched_once_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv is the real one in every other test; here it is counted."""
    calls = []

    def uv(*words: str) -> None:
        calls.append(words[0])
        if "--target" in words:
            target = Path(words[words.index("--target") + 1])
            for name in ("thing/__init__.py", "thing-1.dist-info/RECORD", "bin/thing"):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_text("x")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(software, "_uv", uv)
    first = software.packages()
    assert (software.packages(), calls) == (first, ["export", "pip"])
    assert names(first) == ["thing/__init__.py"]
    monkeypatch.setattr(software, "INSTALL", (*software.INSTALL, "--other"))
    software.packages()
    assert calls == ["export", "pip"] * 2


@pytest.mark.parametrize(
    "url", ["https://a:b@example.org/x", "/srv/x", "ext::sh -c x", "https://example.org", "-x://a/b"]
)
def test_addresses_of_mirrors_hold_no_password_and_run_nothing(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(mirrors={"x": url})


def test_zones_are_the_sites_own_and_the_same_in_any_order(api: Lab) -> None:
    for domain in ("example.org", "sub.example.org", "notexample.org"):
        assert api("POST", "/domains", {"domain": domain})[0] == 200
    record = {"type": "A", "name": "www", "data": "192.0.2.1"}
    assert api("POST", "/domains/example.org/records", record)[0] == 201
    client = Client(f"{api.base}/v2", KEY)
    assert zones.zones(client, "example.org") == ["example.org", "sub.example.org"]
    text = zones.text(client, "example.org")
    kept = json.loads(text)
    assert [one["data"] for one in kept["records"] if one["type"] == "A"] == ["192.0.2.1"]
    assert kept["soa"]["nsprimary"]

    class Backwards(Client):
        def list(self, path: str, key: str, **query: str) -> list[Item]:
            return super().list(path, key, **query)[::-1]

    assert zones.text(Backwards(f"{api.base}/v2", KEY), "example.org") == text

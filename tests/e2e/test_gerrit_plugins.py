"""Gerrit's plugins are those that are declared, or the deploy fails; and what was restored tells no other server."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud.converge import Converged, converge
from tests.gerrit_site import HOST, gerrit_site
from tests.saved_site import Saved

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]
SITE = "/srv/gerrit/site"
SMARTHOST = {"smarthost": "smtp.example.org", "sender": "a@example.org", "admin": "a@example.org"}


@pytest.fixture(scope="module")
def gerrit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from gerrit_site(tmp_path_factory.mktemp("gerrit"))


def plugin(folder: Path, name: str, version: str, module: str = "") -> dict[str, Any]:
    """One that does nothing, as it is declared. module: a class that it names; there is none."""
    path = folder / f"{name}-{version}.jar"
    manifest = {"Gerrit-PluginName": name, "Gerrit-ApiType": "plugin", "Implementation-Version": version}
    lines = manifest | ({"Gerrit-Module": module} if module else {})
    with zipfile.ZipFile(path, "w") as jar:
        text = "".join(f"{key}: {value}\r\n" for key, value in ({"Manifest-Version": "1.0"} | lines).items())
        jar.writestr("META-INF/MANIFEST.MF", f"{text}\r\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": name, "version": version, "sha256": digest, "source": str(path)}


def deploy(gerrit: Saved, **settings: Any) -> Converged:
    file = gerrit.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(file.read_text())
    document["settings"]["gerrit"].update(settings)
    file.write_text(tomlkit.dumps(document))
    return converge(gerrit.inventory, "gerrit")


def jars(gerrit: Saved) -> str:
    return gerrit.root(HOST, f"cd {SITE}/plugins; ls")


def test_plugins_come_and_go_as_declared_and_one_that_does_not_load_fails_the_deploy(
    gerrit: Saved, tmp_path: Path
) -> None:
    quiet, section = plugin(tmp_path, "quiet", "1.0"), {'plugin "quiet"': {"greeting": 'a "b" # c'}}
    gerrit.root(HOST, f"touch {SITE}/plugins/undeclared.jar")
    first = deploy(gerrit, plugins=[quiet], sections=section)
    assert first.ok, first.output
    assert jars(gerrit) == "quiet.jar"
    assert gerrit.root(HOST, f"git config -f {SITE}/etc/gerrit.config plugin.quiet.greeting") == 'a "b" # c'
    again = converge(gerrit.inventory, "gerrit")
    assert (again.code, again.changed) == (0, ()), again.output

    broken = plugin(tmp_path, "broken", "1.0", module="org.example.NoSuchClass")
    renamed = plugin(tmp_path, "quiet", "2.0") | {"version": "3.0"}
    refused = deploy(gerrit, plugins=[renamed, broken])
    assert not refused.ok
    assert "the plugin broken 1.0 is declared, and not loaded" in refused.output
    assert "the plugin quiet is loaded as 2.0, and 3.0 is declared" in refused.output
    assert gerrit.root(HOST, "systemctl is-active gerrit") == "active"

    other = deploy(gerrit, plugins=[quiet | {"sha256": "0" * 64}])
    assert (other.ok, other.changed) == (False, ())
    assert "settings.gerrit.plugins.quiet.sha256" in other.output


def test_after_a_restore_nothing_goes_out_before_the_next_deploy(gerrit: Saved, tmp_path: Path) -> None:
    sender = plugin(tmp_path, "sender", "1.0") | {"sends": True}
    mirrored = {"replication.config": {'remote "mirror"': {"url": "https://mirror.example.org/${name}.git"}}}
    silent = deploy(gerrit, plugins=[sender], files=mirrored, sections={})
    assert silent.ok, silent.output
    assert jars(gerrit) == ""

    file = gerrit.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(file.read_text())
    document["settings"].setdefault("base", {})["mail"] = SMARTHOST
    file.write_text(tomlkit.dumps(document))
    sending = deploy(gerrit, outgoing=True)
    assert sending.ok, sending.output
    assert jars(gerrit) == "sender.jar"
    enabled = f"git config -f {SITE}/etc/gerrit.config sendemail.enable"
    assert gerrit.root(HOST, enabled) == "true"

    gerrit.root(HOST, f"systemctl stop gerrit; rm -r {SITE}/index {SITE}/cache; systemctl start gerrit")
    assert (jars(gerrit), gerrit.root(HOST, enabled)) == ("", "false")
    gerrit.root(HOST, "systemctl restart gerrit")
    assert (jars(gerrit), gerrit.root(HOST, enabled)) == ("", "false")
    said = converge(gerrit.inventory, "gerrit")
    assert said.ok, said.output
    assert (jars(gerrit), gerrit.root(HOST, enabled)) == ("sender.jar", "true")

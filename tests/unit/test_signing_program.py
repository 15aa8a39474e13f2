"""What the signing host gets of this project: all that `mainstay hsm` loads, and nothing that needs a site."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.hsm.app import COMMANDS
from inventories.errors import InputError
from inventories.inventory import CLONE, LoadedSite, load_site
from roles.signing import program
from roles.signing.settings import Settings
from roles.signing.tools.state import loading
from tests.hsm_site import DECLARATION

SERIALS = ("0999000001", "0999000002")
ALONE = """\
import sys
sys.path = [path for path in sys.path if path not in ("", {clone!r})]
sys.path.insert(0, {folder!r})
sys.argv[1:] = {words!r}
from {module} import main
sys.exit(main())
"""
"""A program of what lies in a folder, without this clone on the path."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As it lies on the host."""
    folder = tmp_path_factory.mktemp("host")
    for path, content in program.files().items():
        file = folder / Path(path).relative_to(program.FOLDER)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def run(folder: Path, module: str, *words: str) -> str:
    code = ALONE.format(clone=str(CLONE), folder=str(folder), words=list(words), module=module)
    words = (sys.executable, "-I", "-c", code)
    done = subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_mainstay_with_one_group(installed: Path) -> None:
    shown = run(installed, "cli.main", "--help")
    assert "hsm" in shown
    assert "gerrit" not in shown
    assert "ssh" not in shown
    assert "Bring a backup back" not in run(installed, "cli.main", "hsm", "--help")


@pytest.mark.parametrize("command", [*(one for one in COMMANDS if one != "drill"), "shares split", "shares join"])
def test_every_command_has_all_that_it_loads(installed: Path, command: str) -> None:
    assert f"mainstay hsm {command}" in run(installed, "cli.main", "hsm", *command.split(), "--help")


def test_scripts_have_their_own_start(installed: Path) -> None:
    assert "hsm-run" in run(installed, "roles.signing.tools.custody.__main__", "--help")


def declared(folder: Path, **connectors: str) -> LoadedSite:
    """A site with an hsm.toml whose connectors are as a deploy makes them, or as given."""
    site = load_site(CLONE / "inventories/signing.py")
    ports = {"primary": "http://127.0.0.1:12345", "backup": "http://127.0.0.1:12346"} | connectors
    (folder / "signing").mkdir()
    (folder / "signing/hsm.toml").write_text(DECLARATION.format(**ports))
    return LoadedSite(folder / "signing.toml", site.fleet)


def test_the_sites_declaration_goes_along(tmp_path: Path) -> None:
    found = program.declaration(declared(tmp_path), Settings(hsms=SERIALS))
    assert found == {"/etc/signing/hsm.toml": (tmp_path / "signing/hsm.toml").read_bytes()}


def test_a_device_that_may_not_be_plugged_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"devices\.backup\.serial: 0999000002 is none of settings\.signing\.hsms"):
        program.declaration(declared(tmp_path), Settings(hsms=SERIALS[:1]))


def test_a_connector_that_is_another_devices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"devices\.backup\.connector: .* is http://127\.0\.0\.1:12346"):
        program.declaration(declared(tmp_path, backup="http://127.0.0.1:12347"), Settings(hsms=SERIALS))


def test_the_example_is_one_that_a_deploy_takes() -> None:
    site = load_site(CLONE / "inventories/signing.py")
    settings = site.settings("signing-1")["signing"]
    assert isinstance(settings, Settings)
    path = CLONE / "inventories/signing/hsm.toml"
    assert program.declaration(site, settings) == {program.DECLARATION: path.read_bytes()}
    file = loading.load(path).file
    assert {name: one.id for name, one in file.authentication_keys.items()} == {
        "signing": 0x0001,
        "audit": 0x0002,
        "admin": 0x00AD,
    }
    assert {name: (one.domains, one.algorithm) for name, one in file.classes.items()} == {
        "on-demand": ((2,), "rsa4096"),
        "exportable": ((3,), "rsa4096"),
        "unexportable": ((4,), "rsa4096"),
    }


def test_of_the_declared_keys_admin_alone_makes_deletes_and_resets() -> None:
    keys = loading.load(CLONE / "inventories/signing/hsm.toml").file.authentication_keys
    for word in ("put-", "delete-", "generate-", "reset-device", "set-option"):
        assert [name for name, one in keys.items() if word in " ".join(one.capabilities)] == ["admin"]
    made = {capability for name in ("signing", "audit") for capability in keys[name].capabilities}
    assert made <= {*keys["admin"].delegated}, "admin makes the others anew when their passwords change"

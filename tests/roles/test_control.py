"""The control host as it is in service; reads only."""

import json

import pytest
from testinfra.host import Host

from backup import custody
from inventories import secrets
from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from roles.control.deploy import timers
from roles.control.settings import Settings, state_volume

pytestmark = pytest.mark.lab
EXPOSURE_AT_MOST = 2.5
"""Of 10; `systemd-analyze security`."""
SOFTWARE = "PYTHONPATH=/opt/mainstay:/opt/mainstay/packages PYTHONDONTWRITEBYTECODE=1 python3 -sP"
CHECK = "import pathlib, sys; from backup.ledger import check; [check(pathlib.Path(name)) for name in sys.argv[1:]]"


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["control"]
    assert isinstance(found, Settings)
    return found


@pytest.fixture(scope="session")
def volume(loaded_site: LoadedSite, host_name: str, settings: Settings) -> Volume:
    return state_volume(loaded_site, host_name, settings)


def test_timers_are_on_where_there_is_something_to_do(host: Host, loaded_site: LoadedSite, settings: Settings) -> None:
    wanted = {unit.name: unit.running for unit in timers(loaded_site, settings)}
    assert {name: host.service(name).is_running for name in wanted} == wanted
    assert {name: host.service(name).is_enabled for name in wanted} == wanted


@pytest.mark.parametrize(
    "unit",
    [
        *(
            f"mainstay-control@{kind}"
            for kind in ("watch", "verify", "copy", "mirror", "drill", "sweep", "audit", "sources")
        ),
        "mainstay-control-software",
        "mainstay-mail@x",
    ],
)
def test_units_are_confined(host: Host, unit: str) -> None:
    said = host.check_output(f"systemd-analyze security --no-pager {unit}.service | tail -1")
    assert float(said.split(":")[1].split()[0]) <= EXPOSURE_AT_MOST, said
    if unit.startswith("mainstay-control@"):
        assert host.check_output(f"systemctl show -P User {unit}.service") == "control"


def test_it_holds_nothing_that_deletes_or_provisions(host: Host, loaded_site: LoadedSite) -> None:
    held = set(secrets.parse(loaded_site.path, host.file("/etc/mainstay/control/secrets.age").content))
    assert held <= set(custody.for_control(loaded_site.fleet))
    assert {custody.LOGINS[custody.CONTROL], *(one.secret for one in custody.data_sets(loaded_site.fleet))} <= held
    assert loaded_site.fleet.provider.api_key not in held


def test_what_it_holds_is_read_by_its_account_alone(host: Host) -> None:
    found = host.check_output("stat -c '%U:%G %a' /etc/mainstay/control /etc/mainstay/control/*").splitlines()
    assert (found[0], set(found[1:])) == ("root:control 750", {"root:control 640"})


def test_its_account_can_change_neither_software_nor_keys(host: Host) -> None:
    find = "setpriv --reuid control --regid control --init-groups find -L /opt /etc/mainstay /usr/local -writable"
    assert host.run(f"{find} 2>/dev/null").stdout == ""


def test_what_it_collects_is_on_its_volume(host: Host, volume: Volume) -> None:
    for folder in ("drills", "kept-drills", "ledgers", "mirrors", "status", "zones"):
        assert host.check_output(f"findmnt -no TARGET --target {volume.mount}/{folder}") == volume.mount
        assert host.check_output(f"stat -c '%U:%G %a' {volume.mount}/{folder}") == "control:control 750"


def test_the_command_knows_every_data_set(host: Host, loaded_site: LoadedSite) -> None:
    told = json.loads(host.run("mainstay backup status --json").stdout)
    wanted = {str(one) for one in custody.data_sets(loaded_site.fleet)}
    assert {f"{one['host']}:{one['plan']}" for one in told["data_sets"]} == wanted


def test_the_ledgers_are_whole(host: Host, volume: Volume) -> None:
    ledgers = f"find {volume.mount}/ledgers -name '*.jsonl' ! -name '*.rejected.jsonl' -print0"
    host.check_output(f"{ledgers} | {SOFTWARE.replace(' python3', ' xargs -0r python3', 1)} -c '{CHECK}'")


def test_the_mirrors_are_whole(host: Host, volume: Volume, settings: Settings) -> None:
    git = "setpriv --reuid control --regid control --init-groups git"
    there = [name for name in settings.mirrors if host.file(f"{volume.mount}/mirrors/{name}.git/HEAD").exists]
    for name in there:
        host.check_output(f"{git} -C {volume.mount}/mirrors/{name}.git fsck --connectivity-only --no-dangling")

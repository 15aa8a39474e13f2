"""The control host drills by its own unit, with a key that reaches nothing of production, and leaves nothing behind."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from backup.custody import APPEND, CONTROL_ROLE, PORTS
from backup.drills import book
from backup.drills.report import Report
from cloud.converge import REPOSITORY
from inventories.inventory import PROVIDER_AUTHORITY, LoadedSite, load_site
from inventories.secrets import Secrets, UnreadableError
from inventories.ssh import ssh_config
from lab import lifecycle
from lab.api.store import DRILL
from lab.engine import LabConfig
from lab.fetch import lab_of
from tests.labs import one_connection
from tests.waiting import until
from tests.watched_site import MAINSTAY

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
VAULT, DATA, CONTROL = "vault-1", "release-1", "control-1"
DATA_SETS = {f"{DATA}:release", f"{CONTROL}:control"}
ALL = DATA_SETS | {"release-2:release", "web-1:web", "gerrit-1:gerrit"}
DRILLS, SWEEP = "mainstay-control@drill.service", "mainstay-control@sweep.service"
OVERRIDE = f"/run/systemd/system/{DRILLS}.d"
FAMILIES = {"instances": "instances", "blocks": "blocks", "firewalls": "firewall_groups", "vpcs": "vpcs"}
CONNECT = """
import json, socket, sys
def opens(where):
    try:
        socket.create_connection(where, 3).close()
    except OSError:
        return False
    return True
print(json.dumps([where for where in json.load(sys.stdin) if opens(where)]))
"""


@dataclass
class Place:
    """The rehearsal's site, each data set saved."""

    inventory: Path
    lab: LabConfig
    folder: Path

    @property
    def loaded(self) -> LoadedSite:
        return load_site(self.inventory)

    def ssh(self, host: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        config = one_connection(self.folder / "ssh_config", ssh_config(self.loaded))
        command = ["ssh", "-F", str(config), "-o", "BatchMode=yes", host, *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    def root(self, host: str, command: str) -> str:
        done = self.ssh(host, "sudo", "sh", "-e", stdin=command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def mainstay(self, *words: str) -> subprocess.CompletedProcess[str]:
        """On this machine, an admin's laptop."""
        own = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "COLUMNS": "200"}
        command = [str(MAINSTAY), *words, "--inventory", str(self.inventory)]
        return subprocess.run(command, cwd=REPOSITORY, env=own, capture_output=True, text=True, check=False)

    @contextmanager
    def drop_in(self, text: str) -> Iterator[None]:
        """The unit of drills as it is deployed, but for this."""
        try:
            self.root(
                CONTROL,
                f"mkdir -p {OVERRIDE}; echo {shlex.quote(text)} >{OVERRIDE}/test.conf; systemctl daemon-reload",
            )
            yield
        finally:
            self.root(CONTROL, f"rm -r {OVERRIDE}; systemctl daemon-reload")

    def run_drills(self, *words: str) -> None:
        """By the unit as it is deployed, but for the command. Its journal tells why not."""
        with self.drop_in(f"[Service]\nExecStart=\nExecStart=/usr/local/bin/mainstay drill run {shlex.join(words)}\n"):
            self.root(CONTROL, f"systemctl start {DRILLS} || {{ journalctl -u {DRILLS} -n 60 >&2; exit 1; }}")

    def reports(self) -> list[Report]:
        """Those of the control host, as a laptop fetches them, newest first."""
        self.mainstay("drill", "list")
        return [one for one in book.reports(book.folder(self.loaded), pytest.fail) if one.who == CONTROL_ROLE]

    def key_of_drills(self) -> str:
        """As the control host's own age key opens it."""
        age_key = self.folder / "age_key"
        age_key.touch(0o600)
        age_key.write_text(self.root(CONTROL, "cat /etc/mainstay/control/age_key"))
        return Secrets(self.loaded.secrets.path, [age_key])["drill_api_key"].get_secret_value()

    def account(self, method: str, path: str) -> requests.Response:
        """The provider's API by that key."""
        headers = {"Authorization": f"Bearer {self.key_of_drills()}"}
        authority = str(self.loaded.files / PROVIDER_AUTHORITY)
        return requests.request(
            method, f"{self.lab.drill_api_url}{path}", headers=headers, verify=authority, timeout=60
        )

    def left(self) -> dict[str, list[str]]:
        """All that there is in the drills' account, by kind."""
        found = {kind: self.account("GET", f"/{kind}").json()[key] for kind, key in FAMILIES.items()}
        domains = [one["domain"] for one in self.account("GET", "/domains").json()["domains"]]
        names = {kind: [one["id"] for one in items] for kind, items in found.items()} | {"domains": domains}
        return {kind: items for kind, items in names.items() if items}

    def begin(self) -> None:
        """Drills of all, until their hosts are there."""
        self.root(CONTROL, f"systemctl start --no-block {DRILLS}")
        until("hosts of drills", lambda: len(self.left().get("instances", ())) == len(DATA_SETS), timeout_s=120)


@pytest.fixture(scope="module")
def place(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Left as it was found: drills that were ended are a finding until the next good ones."""
    made = Place(site, lab_of(load_site(site)), tmp_path_factory.mktemp("drills"))
    yield made
    made.root(CONTROL, f"systemctl reset-failed {DRILLS}")
    for one in made.reports():
        if one.outcome == "abandoned":
            made.root(CONTROL, f"rm -r /srv/control/drills/{one.id}")
            shutil.rmtree(book.folder(made.loaded) / one.id)


@pytest.fixture(scope="module")
def kept(place: Place) -> dict[str, Report]:
    """Drills that have passed, whose hosts are left."""
    known = {one.id for one in place.reports()}
    place.run_drills(*DATA_SETS, "--keep")
    return {one.data_set: one for one in place.reports() if one.id not in known}


@pytest.mark.full
def test_drills_pass_and_a_laptop_and_the_look_know_it(place: Place, kept: dict[str, Report]) -> None:
    assert {name: (one.outcome, one.who) for name, one in kept.items()} == dict.fromkeys(
        DATA_SETS, ("passed", "control")
    )
    shown = place.mainstay("drill", "list")
    assert (shown.returncode, shown.stdout.splitlines()[-1]) == (0, "every backup is proved"), shown.stderr
    own = place.ssh(CONTROL, "sudo mainstay backup status")
    assert (own.returncode, own.stdout.splitlines()[-1]) == (0, "all is well"), own.stdout + own.stderr
    place.root(CONTROL, "systemctl start mainstay-control@watch")
    told = json.loads(place.root(CONTROL, "cat /srv/control/status/backup.json"))
    assert {f"{one['host']}:{one['plan']}" for one in told["data_sets"] if one["last_proved"]} == DATA_SETS


@pytest.mark.full
def test_its_key_sees_and_touches_nothing_of_production(place: Place, kept: dict[str, Report]) -> None:
    locked = place.loaded.lock.hosts
    instances = [host.instance_id for host in locked.values()]
    volumes = [volume.id for host in locked.values() for volume in host.volumes.values()]
    left = place.left()
    assert len(left["instances"]) == len(kept)
    assert not {*left["instances"], *left["blocks"]} & {*instances, *volumes}
    for path in (*(f"/instances/{one}" for one in instances), *(f"/blocks/{one}" for one in volumes)):
        for method in ("GET", "DELETE"):
            assert place.account(method, path).status_code == 404, f"{method} {path}"
    own = {"Authorization": f"Bearer {lifecycle.api_key(place.lab)}"}
    for one in instances:
        assert requests.get(f"{place.lab.api_url}/instances/{one}", headers=own, timeout=60).ok
    borrowed = {"Authorization": f"Bearer {lifecycle.api_key(place.lab, DRILL)}"}
    assert place.key_of_drills() == lifecycle.api_key(place.lab, DRILL)
    for one in instances:
        refused = requests.get(f"{place.lab.api_url}/instances/{one}", headers=borrowed, timeout=60)
        assert refused.status_code in (401, 404)


@pytest.mark.parametrize("name", ["vultr_api_key", "vault_admin", "vault_tls_key", "control_age_key"])
def test_its_age_key_opens_no_other_key(place: Place, name: str) -> None:
    place.key_of_drills()
    stolen = Secrets(place.loaded.secrets.path, [place.folder / "age_key"])
    with pytest.raises(UnreadableError):
        _ = stolen[name]


@pytest.mark.full
def test_drilled_and_production_hosts_do_not_reach_each_other(place: Place, kept: dict[str, Report]) -> None:
    """But for the vault's listener for hosts, from the drill's; and the control host, to the drill's."""
    drill = kept[f"{DATA}:release"]
    lock = json.loads(place.root(CONTROL, f"cat /srv/control/kept-drills/{drill.id}/*/lock.json"))
    address = lock["hosts"][DATA]["ipv4"]
    way = f"sudo mainstay ssh --inventory /srv/control/kept-drills/{drill.id}/*.py {DATA}"
    locked = place.loaded.lock.hosts
    ports = (22, 80, *PORTS.values())
    production = [(one, port) for host in locked.values() for one in (host.ipv4, host.ipv6) if one for port in ports]
    asked = f"sudo sh -c {shlex.quote(f'{way} python3 -c {shlex.quote(shlex.quote(CONNECT))}')}"
    done = place.ssh(CONTROL, asked, stdin=json.dumps(production))
    assert done.returncode == 0, done.stderr
    vault = locked[VAULT]
    wanted = [[one, PORTS[APPEND]] for one in (vault.ipv4, vault.ipv6) if one]
    assert json.loads(done.stdout) == wanted
    doors = json.dumps([(address, port) for port in (22, 80)])
    for host, opens in ((DATA, []), (VAULT, []), (CONTROL, [[address, 22], [address, 80]])):
        done = place.ssh(host, f"python3 -c {shlex.quote(CONNECT)}", stdin=doors)
        assert json.loads(done.stdout) == opens, host


@pytest.mark.full
def test_what_was_kept_goes_when_it_is_named(place: Place, kept: dict[str, Report]) -> None:
    ids = [one.id for one in kept.values()]
    place.root(CONTROL, f"systemctl start {SWEEP}")
    assert len(place.left()["instances"]) == len(ids)
    place.root(CONTROL, f"mainstay drill sweep {' '.join(ids)}")
    assert place.left() == {}
    assert place.root(CONTROL, "ls /srv/control/kept-drills") == ""


def test_a_unit_that_cannot_begin_is_told(place: Place) -> None:
    with place.drop_in("[Service]\nInaccessiblePaths=/opt/mainstay/inventories/lab.toml\n"):
        done = place.ssh(CONTROL, f"sudo systemctl start {DRILLS}")
    assert "failed" in done.stderr.lower()
    told = json.loads(place.ssh(CONTROL, "sudo mainstay backup status --json").stdout)["data_sets"]
    [found] = [one for data_set in told for one in data_set["findings"]]
    assert (found["kind"], f"{DRILLS} failed (exit-code, status 2)" in found["what"]) == ("not drilled", True)
    place.root(CONTROL, f"systemctl reset-failed {DRILLS}")
    assert place.ssh(CONTROL, "sudo mainstay backup status").returncode == 0


def ended(place: Place, known: set[str]) -> list[str | None]:
    """How the drills ended that were not known before."""
    return [one.outcome for one in place.reports() if one.id not in known]


@pytest.mark.full
def test_stopped_in_the_middle_it_destroys_all(place: Place) -> None:
    known = {one.id for one in place.reports()}
    place.begin()
    place.root(CONTROL, f"systemctl stop {DRILLS}")
    assert place.left() == {}
    assert ended(place, known) == ["abandoned"] * len(DATA_SETS)
    assert place.root(CONTROL, f"systemctl show -P ActiveState {DRILLS}").strip() == "inactive"


@pytest.mark.full
def test_killed_at_once_its_leavings_go_with_the_next_sweep(place: Place) -> None:
    known = {one.id for one in place.reports()}
    place.begin()
    place.root(CONTROL, f"systemctl kill --signal=KILL {DRILLS}")
    until("it is dead", lambda: "failed" in place.ssh(CONTROL, f"systemctl is-failed {DRILLS}").stdout)
    assert place.root(CONTROL, "pgrep -u control || true; ls /dev/shm") == ""
    assert place.left()["instances"]
    place.root(CONTROL, f"systemctl start {SWEEP}")
    assert place.left() == {}
    assert ended(place, known) == ["abandoned"] * len(DATA_SETS)


@pytest.mark.full
def test_the_unit_as_it_is_drills_each_twice_and_leaves_nothing(place: Place) -> None:
    known = {one.id for one in place.reports()}
    place.root(CONTROL, f"systemctl start {DRILLS} || {{ journalctl -u {DRILLS} -n 60 >&2; exit 1; }}")
    fresh = [one for one in place.reports() if one.id not in known]
    assert {(one.data_set, bool(one.fault), one.caught, one.outcome) for one in fresh} == {
        (name, planted, planted or None, "passed") for name in ALL for planted in (False, True)
    }
    assert place.left() == {}

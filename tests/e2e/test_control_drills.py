"""The control host drills by its own unit, with a key that reaches nothing of production, and leaves nothing behind."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from backup import custody
from backup.custody import APPEND, PORTS
from backup.drills import book
from backup.drills.report import Report
from cloud.converge import REPOSITORY, converge
from inventories.inventory import PROVIDER_AUTHORITY, LoadedSite, load_site
from inventories.secrets import Secrets, UnreadableError
from inventories.ssh import ssh_config
from lab import lifecycle, load
from lab.api.store import DRILL
from lab.engine import LabConfig
from lab.sites import derive, only
from tests.labs import own_lab
from tests.waiting import until
from tests.watched_site import MAINSTAY

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
VAULT, DATA, CONTROL = "vault-1", "release-1", "control-1"
DATA_SETS = {f"{DATA}:release", f"{CONTROL}:control"}
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
class Site:
    """A vault, a release server and a control host, each data set saved."""

    inventory: Path
    lab: LabConfig

    @property
    def loaded(self) -> LoadedSite:
        return load_site(self.inventory)

    def ssh(self, host: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        config = self.inventory.parent / "ssh_config"
        config.write_text(ssh_config(self.loaded))
        command = ["ssh", "-F", str(config), "-o", "BatchMode=yes", host, *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    def root(self, host: str, command: str) -> str:
        done = self.ssh(host, "sudo", "sh", "-e", stdin=command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def mainstay(self, *words: str) -> subprocess.CompletedProcess[str]:
        """On this machine, an admin's laptop."""
        own = {"PATH": "/usr/bin:/bin", "HOME": str(self.inventory.parent), "COLUMNS": "200"}
        command = [str(MAINSTAY), *words, "--inventory", str(self.inventory)]
        return subprocess.run(command, cwd=REPOSITORY, env=own, capture_output=True, text=True, check=False)

    def run_drills(self, *words: str) -> None:
        """By the unit as it is deployed, but for the command. Its journal tells why not."""
        text = f"[Service]\nExecStart=\nExecStart=/usr/local/bin/mainstay drill run {shlex.join(words)}\n"
        override = f"mkdir -p {OVERRIDE}; echo {shlex.quote(text)} >{OVERRIDE}/words.conf; systemctl daemon-reload"
        over = f"rm -r {OVERRIDE}; systemctl daemon-reload"
        try:
            self.root(
                CONTROL, f"{override}; systemctl start {DRILLS} || {{ journalctl -u {DRILLS} -n 60 >&2; exit 1; }}"
            )
        finally:
            self.root(CONTROL, over)

    def reports(self) -> list[Report]:
        """As a laptop fetches them, newest first."""
        self.mainstay("drill", "list")
        return book.reports(book.folder(self.loaded), pytest.fail)

    def key_of_drills(self) -> str:
        """As the control host's own age key opens it."""
        age_key = self.inventory.parent / "age_key"
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
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with own_lab("controldrills") as lab:
        inventory = derive(
            lab, tmp_path_factory.mktemp("drills"), lambda document: only(document, VAULT, DATA, CONTROL)
        )
        custody.make(load_site(inventory))
        for deploy in ("provision", "site"):
            done = converge(inventory, deploy)
            assert done.ok, done.output
        made = Site(inventory, lab)
        load.content(made.loaded)
        made.root(DATA, "systemctl start mainstay-backup@release")
        first = ("control@mirror", "control@watch", "backup@control")
        made.root(CONTROL, "; ".join(f"systemctl start mainstay-{one}" for one in first))
        yield made


@pytest.fixture(scope="module")
def kept(site: Site) -> dict[str, Report]:
    """Drills of all that have passed, whose hosts are left."""
    site.run_drills("--all", "--keep")
    return {one.data_set: one for one in site.reports()}


def test_drills_pass_and_a_laptop_and_the_look_know_it(site: Site, kept: dict[str, Report]) -> None:
    assert {name: (one.outcome, one.who) for name, one in kept.items()} == dict.fromkeys(
        DATA_SETS, ("passed", "control")
    )
    shown = site.mainstay("drill", "list")
    assert (shown.returncode, shown.stdout.count("passed")) == (0, len(DATA_SETS)), shown.stdout + shown.stderr
    own = site.ssh(CONTROL, "sudo mainstay backup status")
    assert (own.returncode, own.stdout.splitlines()[-1]) == (0, "all is well"), own.stdout + own.stderr
    site.root(CONTROL, "systemctl start mainstay-control@watch")
    told = json.loads(site.root(CONTROL, "cat /srv/control/status/backup.json"))
    assert {
        name: bool(one["last_proved"]) for one in told["data_sets"] if (name := f"{one['host']}:{one['plan']}")
    } == (dict.fromkeys(DATA_SETS, True))


def test_its_key_sees_and_touches_nothing_of_production(site: Site, kept: dict[str, Report]) -> None:
    locked = site.loaded.lock.hosts
    instances = [host.instance_id for host in locked.values()]
    volumes = [volume.id for host in locked.values() for volume in host.volumes.values()]
    left = site.left()
    assert len(left["instances"]) == len(kept)
    assert not {*left["instances"], *left["blocks"]} & {*instances, *volumes}
    for path in (*(f"/instances/{one}" for one in instances), *(f"/blocks/{one}" for one in volumes)):
        for method in ("GET", "DELETE"):
            assert site.account(method, path).status_code == 404, f"{method} {path}"
    own = {"Authorization": f"Bearer {lifecycle.api_key(site.lab)}"}
    for one in instances:
        assert requests.get(f"{site.lab.api_url}/instances/{one}", headers=own, timeout=60).ok
    borrowed = {"Authorization": f"Bearer {lifecycle.api_key(site.lab, DRILL)}"}
    assert site.key_of_drills() == lifecycle.api_key(site.lab, DRILL)
    for one in instances:
        refused = requests.get(f"{site.lab.api_url}/instances/{one}", headers=borrowed, timeout=60)
        assert refused.status_code in (401, 404)


@pytest.mark.parametrize("name", ["vultr_api_key", "vault_admin", "vault_tls_key", "control_age_key"])
def test_its_age_key_opens_no_other_key(site: Site, name: str) -> None:
    site.key_of_drills()
    stolen = Secrets(site.loaded.secrets.path, [site.inventory.parent / "age_key"])
    with pytest.raises(UnreadableError):
        _ = stolen[name]


def test_drilled_and_production_hosts_do_not_reach_each_other(site: Site, kept: dict[str, Report]) -> None:
    """But for the vault's listener for hosts, from the drill's; and the control host, to the drill's."""
    drill = kept[f"{DATA}:release"]
    lock = json.loads(site.root(CONTROL, f"cat /srv/control/kept-drills/{drill.id}/*/lock.json"))
    address = lock["hosts"][DATA]["ipv4"]
    way = f"sudo mainstay ssh --inventory /srv/control/kept-drills/{drill.id}/*.py {DATA}"
    locked = site.loaded.lock.hosts
    ports = (22, 80, *PORTS.values())
    production = [(one, port) for host in locked.values() for one in (host.ipv4, host.ipv6) if one for port in ports]
    asked = f"sudo sh -c {shlex.quote(f'{way} python3 -c {shlex.quote(shlex.quote(CONNECT))}')}"
    done = site.ssh(CONTROL, asked, stdin=json.dumps(production))
    assert done.returncode == 0, done.stderr
    vault = locked[VAULT]
    wanted = [[one, PORTS[APPEND]] for one in (vault.ipv4, vault.ipv6) if one]
    assert json.loads(done.stdout) == wanted
    doors = json.dumps([(address, port) for port in (22, 80)])
    for host, opens in ((DATA, []), (VAULT, []), (CONTROL, [[address, 22], [address, 80]])):
        done = site.ssh(host, f"python3 -c {shlex.quote(CONNECT)}", stdin=doors)
        assert json.loads(done.stdout) == opens, host


def test_what_was_kept_goes_when_it_is_named(site: Site, kept: dict[str, Report]) -> None:
    ids = [one.id for one in kept.values()]
    site.root(CONTROL, f"systemctl start {SWEEP}")
    assert len(site.left()["instances"]) == len(ids)
    site.root(CONTROL, f"mainstay drill sweep {' '.join(ids)}")
    assert site.left() == {}
    assert site.root(CONTROL, "ls /srv/control/kept-drills") == ""


def test_a_unit_that_cannot_begin_is_told(site: Site) -> None:
    there = "/opt/mainstay/inventories/*.toml"
    done = site.ssh(CONTROL, f"sudo sh -c 'chmod 0 {there}; systemctl start {DRILLS}; chmod 644 {there}'")
    assert "failed" in done.stderr.lower()
    told = json.loads(site.ssh(CONTROL, "sudo mainstay backup status --json").stdout)["data_sets"]
    [found] = [one for data_set in told for one in data_set["findings"]]
    assert (found["kind"], f"{DRILLS} failed (exit-code, status 2)" in found["what"]) == ("not drilled", True)
    site.root(CONTROL, f"systemctl reset-failed {DRILLS}")
    assert site.ssh(CONTROL, "sudo mainstay backup status").returncode == 0


def ended(site: Site, known: set[str]) -> list[str | None]:
    """How the drills ended that were not known before."""
    return [one.outcome for one in site.reports() if one.id not in known]


def test_stopped_in_the_middle_it_destroys_all(site: Site) -> None:
    known = {one.id for one in site.reports()}
    site.begin()
    site.root(CONTROL, f"systemctl stop {DRILLS}")
    assert site.left() == {}
    assert ended(site, known) == ["abandoned"] * len(DATA_SETS)
    assert site.root(CONTROL, f"systemctl show -P ActiveState {DRILLS}").strip() == "inactive"


def test_killed_at_once_its_leavings_go_with_the_next_sweep(site: Site) -> None:
    known = {one.id for one in site.reports()}
    site.begin()
    site.root(CONTROL, f"systemctl kill --signal=KILL {DRILLS}")
    until("it is dead", lambda: "failed" in site.ssh(CONTROL, f"systemctl is-failed {DRILLS}").stdout)
    assert site.root(CONTROL, "pgrep -u control || true; ls /dev/shm") == ""
    assert site.left()["instances"]
    site.root(CONTROL, f"systemctl start {SWEEP}")
    assert site.left() == {}
    assert ended(site, known) == ["abandoned"] * len(DATA_SETS)


@pytest.mark.full
def test_the_unit_as_it_is_drills_each_twice_and_leaves_nothing(site: Site) -> None:
    known = {one.id for one in site.reports()}
    site.root(CONTROL, f"systemctl start {DRILLS} || {{ journalctl -u {DRILLS} -n 60 >&2; exit 1; }}")
    fresh = [one for one in site.reports() if one.id not in known]
    assert {(one.data_set, bool(one.fault), one.outcome) for one in fresh} == {
        (name, planted, "passed") for name in DATA_SETS for planted in (False, True)
    }
    assert site.left() == {}

"""The agent as its role installs it: units that run sandboxed, by timer, and are stopped gently."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lab.engine import LabConfig
from tests import bare_host
from tests.bare_host import BareHost
from tests.e2e.primitives import Bench
from tests.waiting import until

pytestmark = pytest.mark.lab

STATE = "/var/lib/mainstay/backup"
PLANS = {
    "files": 'Recovery(root="/srv/files", paths=("public",), consistency="files", every="hourly", rpo_hours=6)',
    "instant": 'Recovery(root="/srv/btrfs", consistency="btrfs")',
    "git": 'Recovery(root="/srv/git", consistency="refs")',
    "dump": (
        'Recovery(root="/srv/files", consistency="command", command=("runuser", "-u", "nobody", "--", "id", "-un"), '
        'before=(("runuser", "-u", "owner", "touch", "/srv/files/down"),), '
        'after=(("runuser", "-u", "owner", "rm", "/srv/files/down"),))'
    ),
}
"""The repositories lie in the state's folder, where the units may write: a test has no vault."""
DEPLOY = """
from pydantic import SecretStr
from roles.agent.deploy import install
from roles.agent.plans import Planned
from backup.recovery import Recovery
def planned(name, recovery):
    url = f"/var/lib/mainstay/backup/repository-{{name}}"
    return Planned(name, "common", SecretStr(url), SecretStr("secret words"), "", recovery)
install([{plans}], {{}})
"""
SEVEREST = 2.5
"""systemd-analyze's exposure, 0 to 10."""


def deploy(*names: str) -> str:
    return DEPLOY.format(plans=", ".join(f"planned({name!r}, {PLANS[name]})" for name in names))


@pytest.fixture(scope="module")
def host(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHost]:
    """With data of all kinds, one on a btrfs volume, and all four plans installed."""
    folder = tmp_path_factory.mktemp("agent")
    (host,) = bare_host.create(lab, ["common"], folder)
    api = host.url.rpartition("/instances/")[0]
    wanted = {"region": "ams", "size_gb": 10, "label": "btrfs", "block_type": "high_perf"}
    block = requests.post(f"{api}/blocks", json=wanted, headers=host.headers, timeout=60).json()["block"]["id"]
    body = {"instance_id": host.url.rpartition("/")[2], "live": True}

    def attached() -> bool:
        return requests.post(f"{api}/blocks/{block}/attach", json=body, headers=host.headers, timeout=60).ok

    until("the volume is attached", attached)
    until("its disk", lambda: host.root("ls /dev/disk/by-id", check=False).strip())
    bench = Bench(host, folder)
    bench.good('packages("install", {"btrfs-progs": None, "git": None})\naccounts("o", [Account("owner")])')
    host.root("mkfs.btrfs -q /dev/disk/by-id/virtio-*; mkdir /srv/btrfs; mount /dev/disk/by-id/virtio-* /srv/btrfs")
    host.root("mkdir -p /srv/files/public; echo page >/srv/files/public/page; chmod -R go= /srv/files/public")
    host.root("chown -R owner:owner /srv/files /srv/btrfs; runuser -u owner touch /srv/btrfs/file")
    host.root("git init -q --bare /srv/git/a.git; chown -R owner:owner /srv/git; chmod 0700 /srv/git")
    bench.good(deploy(*PLANS))
    yield host
    host.destroy()


def show(host: BareHost, unit: str, name: str) -> str:
    return host.root(f"systemctl show -P {name} {unit}").strip()


def entries(host: BareHost, plan: str) -> list[dict[str, Any]]:
    said = host.root(f"python3 -I /usr/local/lib/mainstay/backup.pyz ledger {plan}")
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("plan", PLANS)
def test_a_unit_saves_and_another_verifies(host: BareHost, plan: str) -> None:
    host.root(f"systemctl start mainstay-backup@{plan} || {{ journalctl -n 30 -u mainstay-backup@{plan} >&2; false; }}")
    host.root(f"systemctl start mainstay-backup-verify@{plan} || {{ journalctl -n 30 >&2; false; }}")
    told = [(entry["kind"], entry["outcome"]) for entry in entries(host, plan)]
    assert told[-3:] == [("backup", "started"), ("backup", "ok"), ("verify", "ok")]
    target = f"/root/back-{plan}"
    host.root(f"python3 -I /usr/local/lib/mainstay/backup.pyz restore {plan} --to {target}")
    names = host.root(f"cd {target} && find . -type f | sort").split()
    expected = {"files": "./public/page", "instant": "./file", "git": "./a.git/HEAD", "dump": "./dump.out"}
    assert expected[plan] in names
    assert not host.root("ls /srv/files/down /srv/btrfs/.mainstay* 2>/dev/null", check=False)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", ["mainstay-backup", "mainstay-backup-verify"])
def test_units_are_sandboxed(host: BareHost, kind: str, plan: str) -> None:
    said = host.root(f"systemd-analyze security --no-pager {kind}@{plan}.service")
    exposure = float(said.rpartition("Overall exposure level")[2].split(":")[1].split()[0])
    assert exposure <= SEVEREST, said


def test_a_second_deploy_changes_nothing(host: BareHost, tmp_path: Path) -> None:
    bench = Bench(host, tmp_path)
    assert bench.good(deploy(*PLANS)).changed == []
    shown = bench.good(deploy(*PLANS).replace("secret words", "other words"), "--dry", "--diff").output
    assert "/etc/mainstay/backup/files.json" in shown
    assert "words" not in shown


def test_no_one_else_reads_plans_or_ledgers(host: BareHost) -> None:
    modes = host.root(f"stat -c %a /etc/mainstay/backup /etc/mainstay/backup/*.json {STATE}/files/ledger.jsonl")
    assert set(modes.split()) == {"700", "600"}
    assert host.root(f"stat -c %a:%G {STATE} {STATE}/files").split() == ["711:root", "710:root"]


def test_a_timer_runs_it_and_makes_good_what_was_missed(host: BareHost) -> None:
    """A host that was off for two days: the stamp of the last run is that old when the timer starts."""
    timer = "mainstay-backup@files.timer"
    assert show(host, timer, "ActiveState") == "active"
    assert show(host, timer, "Persistent") == "yes"
    assert show(host, timer, "UnitFileState") == "enabled"
    assert show(host, timer, "RandomizedDelayUSec") == "30min"
    status = json.loads(host.root("python3 -I /usr/local/lib/mainstay/backup.pyz status --json"))
    assert all(one["next"] for one in status)
    host.root(
        f"systemctl stop {timer}; mkdir -p /run/systemd/system/{timer}.d; "
        f'printf "[Timer]\\nRandomizedDelaySec=0\\n" >/run/systemd/system/{timer}.d/now.conf; systemctl daemon-reload'
    )
    before = len(entries(host, "files"))
    try:
        host.root(f'touch -d "2 days ago" /var/lib/systemd/timers/stamp-{timer}; systemctl start {timer}')
        until("the missed run", lambda: [e["outcome"] for e in entries(host, "files")[before:]] == ["started", "ok"])
    finally:
        host.root(f"rm -r /run/systemd/system/{timer}.d; systemctl daemon-reload; systemctl restart {timer}")


@pytest.mark.parametrize("kind", ["mainstay-backup", "mainstay-backup-verify"])
def test_systemd_does_not_interrupt_a_run_whose_restic_took_too_much_memory(host: BareHost, kind: str) -> None:
    """The agent would write that it was interrupted, and not why."""
    assert show(host, f"{kind}@files.service", "OOMPolicy") == "continue"


def test_a_comparison_that_hangs_does_not_keep_the_next_from_running(host: BareHost) -> None:
    assert show(host, "mainstay-backup-verify@files.service", "TimeoutStartUSec") == "6d"


def test_data_that_is_not_there_is_told_by_the_ledger(host: BareHost) -> None:
    host.root("mv /srv/git /srv/away")
    try:
        host.root("! systemctl start mainstay-backup@git")
    finally:
        host.root("mv /srv/away /srv/git")
    last = entries(host, "git")[-1]
    assert (last["outcome"], last["error"]) == ("failed", "/srv/git: is not there: is its volume mounted?")


def test_a_stopped_unit_ends_its_run_well(host: BareHost) -> None:
    host.root("dd if=/dev/urandom of=/srv/btrfs/large bs=1M count=400 status=none")
    host.root("systemctl start --no-block mainstay-backup@instant")
    until("the snapshot", lambda: host.root("ls -d /srv/btrfs/.mainstay*", check=False), every_s=0.01)
    until("restic", lambda: host.root("pgrep -x restic", check=False), every_s=0.01)
    host.root("systemctl stop mainstay-backup@instant")
    assert entries(host, "instant")[-1]["outcome"] == "interrupted"
    assert not host.root("ls -d /srv/btrfs/.mainstay*", check=False)
    assert not host.root(f"ls {STATE}/repository-instant/locks", check=False)


@pytest.mark.full
def test_a_killed_units_snapshot_is_removed_at_once(host: BareHost) -> None:
    host.root("dd if=/dev/urandom of=/srv/btrfs/large bs=1M count=400 status=none")
    host.root("systemctl start --no-block mainstay-backup@instant")
    until("the snapshot", lambda: host.root("ls -d /srv/btrfs/.mainstay*", check=False), every_s=0.01)
    host.root("systemctl kill --signal=KILL --kill-whom=main mainstay-backup@instant")
    until("the unit ended", lambda: show(host, "mainstay-backup@instant", "ActiveState") in ("failed", "inactive"))
    assert not host.root("ls -d /srv/btrfs/.mainstay*", check=False)
    assert not host.root("pgrep -x restic", check=False)
    assert entries(host, "instant")[-1]["outcome"] == "started"
    host.root("systemctl start mainstay-backup@instant")
    assert entries(host, "instant")[-1]["outcome"] == "ok"
    assert not host.root(f"ls {STATE}/repository-instant/locks", check=False)

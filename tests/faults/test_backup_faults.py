"""What goes wrong between a host and the vault: credentials, certificates, the link, plans, missed runs."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup.data_set import Kind
from inventories.inventory import load_site
from tests.labs import disconnect
from tests.saved_site import DATA, REPOSITORY_OF_IT, Saved, saved_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

UNIT = "mainstay-backup@release"
PLAN = "/etc/mainstay/backup/release.json"
AT_VAULT = "/etc/vault"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """With one backup."""
    for made in saved_site(tmp_path_factory.mktemp("faults")):
        made.save_first()
        yield made


@pytest.fixture
def as_before(saved: Saved) -> Iterator[None]:
    """Plan, certificate and users are put back; then the next run is good."""
    places = {"release-1": "/etc/mainstay/backup", "vault-1": AT_VAULT}
    for host, folder in places.items():
        saved.root(host, f"rm -rf /root/kept; cp -a {folder} /root/kept")
    yield
    for host, folder in places.items():
        saved.root(host, f"rm -rf {folder}; cp -a /root/kept {folder}")
    saved.root("vault-1", "systemctl restart vault@append")
    saved.root("release-1", f"systemctl reset-failed {UNIT}; systemctl start {UNIT}")
    assert saved.entries()[-1]["outcome"] == "ok"


def fails(saved: Saved) -> str:
    """The unit fails; what the ledger says of it, which the journal says too."""
    assert saved.ssh("release-1", f"systemctl start {UNIT}").returncode == 1
    last = saved.entries()[-1]
    assert (last["kind"], last["outcome"], last["snapshot"]) == ("backup", "failed", "")
    assert last["error"][:60] in saved.root("release-1", f"journalctl -u {UNIT} -n 20 -o cat")
    return str(last["error"])


def change_plan(saved: Saved, **change: Any) -> None:
    program = f"import json, sys; p = json.load(open('{PLAN}')); p.update(json.loads(sys.argv[1]))"
    program += f"; open('{PLAN}', 'w').write(json.dumps(p))"
    saved.root("release-1", f"python3 -c \"{program}\" '{json.dumps(change)}'")


@pytest.mark.usefixtures("as_before")
def test_a_login_that_the_vault_does_not_take_any_more(saved: Saved) -> None:
    saved.root("vault-1", f"sed -i 's/^release-1:/gone:/' {AT_VAULT}/append.htpasswd; systemctl restart vault@append")
    said = fails(saved)
    assert "401 Unauthorized: its login or password is not taken: deploy the vault, then this host" in said
    code, findings = saved.status()
    assert "is not taken" in findings[0]["what"]
    assert code


@pytest.mark.usefixtures("as_before")
def test_another_password_than_the_repositorys(saved: Saved) -> None:
    change_plan(saved, password="another")
    said = fails(saved)
    assert "wrong password" in said
    assert "another" not in said


def points(matrix: dict[str, Any], *telling: str) -> list[Any]:
    """The points of a matrix; but for the telling ones they are for full runs."""
    return [pytest.param(one, marks=[] if one in telling else pytest.mark.full) for one in matrix]


CERTIFICATES = {
    "certificate has expired": ("vault.lab.example.org", "20240101000000Z", "20250101000000Z"),
    "certificate is not yet valid": ("vault.lab.example.org", "20400101000000Z", "20410101000000Z"),
    "Hostname mismatch": ("elsewhere.example.org", "20240101000000Z", "20410101000000Z"),
}


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("reason", points(CERTIFICATES, "certificate has expired"))
def test_a_certificate_that_is_not_right(saved: Saved, reason: str) -> None:
    name, since, until_ = CERTIFICATES[reason]
    certificate = saved.root(
        "vault-1",
        f"cd {AT_VAULT}; openssl req -x509 -new -key vault.key -subj /CN=x -not_before {since} -not_after {until_} "
        f"-addext subjectAltName=DNS:{name} -addext basicConstraints=critical,CA:FALSE | tee vault.pem; "
        "systemctl restart vault@append",
    )
    saved.root("release-1", f"echo '{certificate}' >/etc/mainstay/backup/vault.pem")
    said = fails(saved)
    assert f"the certificate is not to be trusted: {reason}" in said
    assert "deploy the vault, then this host" in said


@pytest.mark.usefixtures("as_before")
def test_a_certificate_that_the_host_does_not_know(saved: Saved) -> None:
    saved.root(
        "vault-1",
        f"cd {AT_VAULT}; openssl req -x509 -new -key vault.key -subj /CN=x -days 9 "
        "-addext subjectAltName=DNS:vault.lab.example.org >vault.pem; systemctl restart vault@append",
    )
    assert "the certificate is not to be trusted: self-signed certificate" in fails(saved)


RUBBISH = {
    "half of it: is not JSON": "echo '{' >PLAN",
    "nothing: is not JSON": ": >PLAN",
    "another type: rpo_hours": """sed -i 's/"rpo_hours": .*/"rpo_hours": "2"/' PLAN""",
    "out of its root: paths": """sed -i 's|"public"|"../etc"|' PLAN""",
    "an unknown key: extra": """sed -i '1s/{/{"extra": 1,/' PLAN""",
    "huge: is larger than": "head -c 2000000 /dev/zero >PLAN",
    "open to all: chmod 600": "chmod 644 PLAN",
    "is a link": "mv PLAN /root/plan; ln -s /root/plan PLAN",
    "belongs to another user": "chown nobody PLAN",
    "a folder: is no file": "rm PLAN; mkdir -m 700 PLAN",
    "a pipe: is no file": "rm PLAN; mkfifo -m 600 PLAN",
}


@pytest.fixture
def plan_as_before(saved: Saved) -> Iterator[None]:
    saved.root("release-1", f"cp -a {PLAN} /root/kept-plan")
    yield
    saved.root("release-1", f"rm -rf {PLAN}; mv /root/kept-plan {PLAN}")
    assert saved.agent("check release").returncode == 0


@pytest.mark.usefixtures("plan_as_before")
@pytest.mark.parametrize(
    "what", points(RUBBISH, "half of it: is not JSON", "open to all: chmod 600", "a pipe: is no file")
)
def test_a_malformed_plan_is_told_and_nothing_is_touched(saved: Saved, what: str) -> None:
    state = "cd /var/lib/mainstay/backup/release; find . -path ./cache -prune -o -type f -exec sha256sum {} + | sort"
    asked = "journalctl -u vault@append -o cat | wc -l"
    before = saved.root("release-1", state), saved.root("vault-1", asked)
    saved.root("release-1", RUBBISH[what].replace("PLAN", PLAN))
    for command in ("run", "verify", "check", "restore --to /root/never"):
        words = command.replace(" ", " release ", 1) if " " in command else f"{command} release"
        done = saved.agent(words)
        assert done.returncode == 2, f"{command}: {done.stdout}{done.stderr}"
        assert f"backup: {PLAN}: " in done.stderr
        assert "Traceback" not in done.stderr
        assert what.rpartition(": ")[2] in done.stderr
    saved.root("release-1", "test ! -e /root/never")
    assert (saved.root("release-1", state), saved.root("vault-1", asked)) == before


LARGE = "/srv/release/public/large"
CUT = "add table inet cut; add chain inet cut out { type filter hook output priority -300; }; "
CUT += "add rule inet cut out tcp dport 8000 counter drop"


@pytest.fixture
def cut(saved: Saved) -> Iterator[None]:
    """A run that saves something large, whose packets are dropped in the middle, and were sent again in vain."""
    saved.root("release-1", f"head -c 200000000 /dev/urandom >{LARGE}")
    packs = f"find {REPOSITORY_OF_IT}/data -type f | wc -l"
    before = int(saved.root("vault-1", packs))
    saved.root("release-1", f"systemctl start --no-block {UNIT}")
    until("packs arrive", lambda: int(saved.root("vault-1", packs)) > before)
    saved.root("release-1", f"nft '{CUT}'")

    def dropped() -> bool:
        told = json.loads(saved.root("release-1", "nft -j list table inet cut"))["nftables"]
        (rule,) = [one["rule"]["expr"] for one in told if "rule" in one]
        return any("counter" in part and part["counter"]["packets"] > 10 for part in rule)

    until("packets are sent in vain", dropped)
    assert saved.root("release-1", f"systemctl show -P ActiveState {UNIT}") == "activating"
    yield
    saved.root("release-1", f"rm {LARGE}")


def mended(saved: Saved) -> None:
    saved.root("release-1", "nft delete table inet cut")


def ended(saved: Saved, timeout_s: int) -> str:
    until("the run ended", lambda: saved.entries()[-1]["outcome"] != "started", timeout_s=timeout_s)
    return str(saved.entries()[-1]["outcome"])


def is_whole(saved: Saved, back: Path) -> None:
    """The repository, and what was being saved."""
    assert saved.mainstay("verify", "--all").returncode == 0
    assert saved.mainstay("restore", DATA, "--to", str(back), "--include", "/public/large").returncode == 0
    here = subprocess.run(["sha256sum", back / "public/large"], capture_output=True, text=True, check=True)
    assert here.stdout.split()[0] == saved.root("release-1", f"sha256sum {LARGE}").split()[0]


@pytest.mark.usefixtures("cut")
def test_a_link_that_is_cut_for_a_while_in_the_middle_costs_nothing(saved: Saved, tmp_path: Path) -> None:
    mended(saved)
    assert ended(saved, 300) == "ok"
    is_whole(saved, tmp_path / "back")


@pytest.fixture
def soon(saved: Saved) -> Iterator[None]:
    """The unit gives up within seconds, not ten minutes."""
    dropin = f"/etc/systemd/system/{UNIT}.service.d/soon.conf"
    words = "ExecStart=/usr/bin/python3 -I /usr/local/lib/mainstay/backup.pyz run release --give-up 5"
    saved.root("release-1", f"printf '[Service]\nExecStart=\n{words}\n' >{dropin}; systemctl daemon-reload")
    yield
    saved.root("release-1", f"rm {dropin}; systemctl daemon-reload")


@pytest.mark.full
@pytest.mark.usefixtures("soon", "cut")
def test_a_link_that_stays_cut_makes_it_fail_in_the_end_and_the_next_is_good(saved: Saved, tmp_path: Path) -> None:
    assert ended(saved, 300) == "failed"
    assert "the vault does not answer" in saved.entries()[-1]["error"]
    mended(saved)
    saved.root("release-1", f"systemctl start {UNIT}")
    assert saved.entries()[-1]["outcome"] == "ok"
    assert not saved.root("vault-1", f"ls {REPOSITORY_OF_IT}/locks")
    is_whole(saved, tmp_path / "back")


def test_two_runs_at_once_are_one(saved: Saved) -> None:
    before = len(saved.entries())
    saved.root("release-1", f"systemctl start {UNIT} & systemctl start {UNIT}; wait")
    agent = "python3 -I /usr/local/lib/mainstay/backup.pyz run release"
    said = saved.root(
        "release-1", f"for i in 1 2 3; do {{ {agent} >/dev/null 2>&1 && echo 0 || echo $?; }} & done; wait"
    )
    assert set(said.split()) <= {"0", "4"}
    assert "0" in said.split()
    told = [entry["outcome"] for entry in saved.entries()[before:]]
    assert told == ["started", "ok"] * (len(told) // 2)


def is_late(saved: Saved) -> bool:
    return Kind.LATE.word in [one["kind"] for one in saved.status()[1]]


def test_a_host_that_was_off_for_two_days_is_told_and_makes_good_at_boot(saved: Saved) -> None:
    """The stamp of its timer's last run is set back; `status` is asked two days from now, in a record of its own."""
    timer, dropin = f"{UNIT}.timer", f"/etc/systemd/system/{UNIT}.timer.d"
    record = load_site(saved.inventory).files / "ledgers"
    assert not is_late(saved)
    shutil.copytree(record, saved.folder / "record")
    try:
        code, findings = saved.status(after="+2 days")
    finally:
        shutil.rmtree(record)
        shutil.move(saved.folder / "record", record)
    assert code == Kind.LATE.exit_code, findings
    before = len(saved.entries())
    saved.root(
        "release-1",
        f"systemctl enable {timer}; mkdir {dropin}; echo '[Timer]\\nRandomizedDelaySec=0' >{dropin}/now.conf; "
        f"touch -d '2 days ago' /var/lib/systemd/timers/stamp-{timer}",
    )
    boot = "cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestampMonotonic"
    was = saved.root("release-1", boot)
    saved.ssh("release-1", "systemctl reboot")
    disconnect(saved.ssh_config, "release-1")
    until("it booted anew", lambda: saved.ssh("release-1", boot).stdout.strip() not in ("", was))
    until("the missed run", lambda: [entry["outcome"] for entry in saved.entries()[before:]][:2] == ["started", "ok"])
    saved.root("release-1", f"rm -r {dropin}; systemctl daemon-reload; systemctl disable --now {timer}")
    assert not is_late(saved)


SKEWED = """
apt-get install -yq --no-install-recommends faketime >/dev/null 2>&1
mkdir -p /root/skewed
cat >/root/skewed/restic <<'END'
#!/bin/sh
command=$1; shift
[ $command = backup ] && set -- --time "$(/usr/bin/date -d "$SKEW" '+%Y-%m-%d %H:%M:%S')" "$@"
exec /usr/bin/restic $command "$@"
END
sed -i "s/\\$SKEW/SHIFT/" /root/skewed/restic
chmod 755 /root/skewed/restic
PATH=/root/skewed:$PATH faketime 'SHIFT' python3 -I /usr/local/lib/mainstay/backup.pyz run release
"""
"""Python sees a shifted clock by libfaketime; restic, which no library reaches, is told the time by --time."""


@pytest.mark.parametrize(
    ("shift", "kind"), [pytest.param("+3 days", Kind.FUTURE, marks=pytest.mark.full), ("-20 hours", Kind.BACK_DATED)]
)
def test_a_clock_that_is_wrong_is_told_and_loses_nothing(saved: Saved, tmp_path: Path, shift: str, kind: Kind) -> None:
    saved.status()
    saved.root("release-1", SKEWED.replace("SHIFT", shift))
    entry = saved.entries()[-1]
    assert entry["outcome"] == "ok"
    assert abs(datetime.fromisoformat(entry["start"]) - datetime.now(UTC)) > timedelta(hours=19)
    _, findings = saved.status()
    told = [one for one in findings if one["kind"] == kind.word]
    assert entry["snapshot"][:8] in told[0]["what"], findings
    assert "timedatectl" in told[0]["to_do"]
    assert saved.mainstay("retain").returncode == 1
    back = ["--to", str(tmp_path / "back"), "--snapshot", entry["snapshot"]]
    assert saved.mainstay("restore", DATA, *back).returncode == 0
    saved.root("release-1", f"systemctl start {UNIT}")
    assert saved.entries()[-1]["outcome"] == "ok"

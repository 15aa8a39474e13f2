"""The record lies with the control host: an admin's laptop fetches it, adds to it, and goes on without it."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from backup import collected, record
from backup.entry import Entry
from backup.ledger import check
from backup.reach import LEDGERS, state
from tests.watched_site import CONTROL, DATA, Watched, watched_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
HOST_LEDGER = "/var/lib/mainstay/backup/web/ledger.jsonl"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from watched_site(tmp_path_factory.mktemp("record"))


def known(site: Watched) -> collected.Known:
    return collected.known(record.folder(site.site), DATA, "web", whole=True)


def there(site: Watched, kind: str = "") -> str:
    return site.root(CONTROL, f"cat {LEDGERS}/{DATA}/web{kind}.jsonl")


def here(site: Watched, kind: str = "") -> str:
    return (record.folder(site.site) / DATA / f"web{kind}.jsonl").read_text()


def accepted(why: str) -> Entry:
    now = datetime.now(UTC).replace(microsecond=0)
    return Entry(host=DATA, plan="web", kind="accept", start=now, end=now, outcome="ok", store="vault", error=why)


def test_a_laptop_asks_the_control_host_to_collect_and_has_what_that_has(site: Watched) -> None:
    site.root(DATA, "systemctl start mainstay-backup@web")
    done = site.mainstay("status", f"{DATA}:web")
    assert "Traceback" not in done.stderr, done.stderr
    assert here(site) == there(site) == site.root(DATA, f"cat {HOST_LEDGER}")
    assert here(site, ".control") == there(site, ".control")
    assert known(site).disputed == ""


def test_what_a_laptop_does_is_written_where_the_record_is(site: Watched) -> None:
    before = len(known(site).control)
    done = site.mainstay("verify", f"{DATA}:web")
    assert f"{DATA}:web in the vault: part " in done.stdout, done.stdout + done.stderr
    assert '"kind": "check"' in there(site, ".control")
    assert not list(state(site.site).glob("*/*.pending.jsonl"))
    site.mainstay("status", f"{DATA}:web")
    fresh = known(site)
    assert "check" in [one.kind for one in fresh.control[before:]]
    assert fresh.disputed == ""
    assert check(state(site.site) / DATA / "web.control.jsonl")


@pytest.mark.parametrize("line", ["{}", '{"kind": "backup"}'])
def test_the_control_host_notes_nothing_that_is_no_admins_entry(site: Watched, line: str) -> None:
    before = there(site, ".control")
    words = f"printf %s '{line}' | mainstay backup note && echo taken; true"
    assert site.root(CONTROL, words) == ""
    assert there(site, ".control") == before


def test_a_record_that_was_rewritten_on_the_control_host_is_disputed_loudly(site: Watched) -> None:
    site.mainstay("status", f"{DATA}:web")
    kept = there(site, ".control")
    site.root(CONTROL, f'sed -i \'1s/"kind": "collect"/"kind": "accept"/\' {LEDGERS}/{DATA}/web.control.jsonl')
    forged = there(site, ".control")
    assert forged != kept
    done = site.mainstay("status", f"{DATA}:web")
    assert done.returncode >= 10
    assert "does not continue what it had before" in done.stderr
    assert here(site, ".control") == kept
    assert here(site, ".control.other").startswith(forged)
    refused = site.mainstay("retain", "--dry", f"{DATA}:web")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    settled = site.mainstay("settle")
    assert settled.returncode == 2, settled.stderr
    assert "host-compromised.md" in settled.stderr
    site.root(CONTROL, f"cat >{LEDGERS}/{DATA}/web.control.jsonl <<'END'\n{kept}END")
    assert site.mainstay("settle").returncode == 0
    site.mainstay("status", f"{DATA}:web")
    assert known(site).disputed == ""


@pytest.mark.full
def test_without_the_control_host_the_record_comes_from_the_vault_and_notes_wait(site: Watched) -> None:
    site.mainstay("status")
    whole = there(site)
    site.root(CONTROL, "systemctl start mainstay-backup@control")
    shutil.rmtree(state(site.site))  # another laptop, which has never seen the control host
    site.power(CONTROL, "halt")
    try:
        site.root(DATA, "systemctl start mainstay-backup@web")
        done = site.mainstay("status", f"{DATA}:web")
        assert "going on without the control host" in done.stderr
        assert "the record is that of the newest backup in the vault" in done.stderr
        assert here(site).startswith(whole)
        assert here(site) == site.root(DATA, f"cat {HOST_LEDGER}")
        assert known(site).disputed == ""
        record.note(site.site, accepted("noted meanwhile"))
        assert [one.error for one in known(site).control][-1] == "noted meanwhile"
        site.mainstay("status", f"{DATA}:web")
        assert [one.error for one in known(site).control][-1] == "noted meanwhile"
    finally:
        site.power(CONTROL, "start")
    assert site.mainstay("status", f"{DATA}:web").stderr == ""
    assert there(site, ".control").count("noted meanwhile") == 1
    assert not list(state(site.site).glob("**/*.pending.jsonl"))
    assert record.folder(site.site) == state(site.site)
    assert known(site).disputed == ""
    assert here(site) == there(site)


@pytest.mark.full
def test_a_host_that_lost_its_ledger_has_it_back_by_a_deploy_and_continues_it(site: Watched) -> None:
    site.mainstay("status", f"{DATA}:web")
    before = site.root(DATA, f"cat {HOST_LEDGER}")
    site.root(DATA, "rm -r /var/lib/mainstay/backup")
    site.deploy("web")
    assert site.root(DATA, f"cat {HOST_LEDGER}") == before
    assert site.root(DATA, f"stat -c '%a %U:%G' {HOST_LEDGER}") == "640 root:control\n"
    site.root(DATA, "systemctl start mainstay-backup@web")
    assert site.deploy("web").changed == ()
    site.mainstay("status", f"{DATA}:web")
    assert known(site).disputed == ""
    assert here(site).startswith(before)
    assert here(site) != before

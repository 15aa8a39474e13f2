"""The runbook of failed drills: one whose backup is wrong, one that proved nothing, and a check that was mended."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup.drills import account, book
from backup.drills.report import Report
from inventories.inventory import load_site
from tests.runbooks.reader import follow
from tests.saved_site import DATA, HOST, PLAN, Saved
from tests.unit.drills import failed

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]

PACKAGES = "find /srv/release/public/ota/panther -name '*.zip' | sort"
FLIP = "printf %032d 0 | dd of={} bs=1 seek=64 conv=notrunc status=none"


def names(tmp_path: Path, fault: str = "") -> dict[str, Any]:
    return {"host": HOST, "role": PLAN, "control": "", "fault": fault, "work": tmp_path}


def drills(saved: Saved) -> list[Report]:
    return book.reports(book.folder(load_site(saved.inventory)), lambda _: None)


def left(saved: Saved) -> list[account.Thing]:
    site = load_site(saved.inventory)
    assert site.fleet.drill
    return account.look(account.client(site, lambda _: None), site.fleet.drill.domain)


def test_what_was_saved_is_wrong(saved: Saved, tmp_path: Path) -> None:
    path = saved.root(HOST, PACKAGES).splitlines()[0]
    saved.root(HOST, f"cp -a {path} /root/good; {FLIP.format(path)}")
    saved.must("run", DATA)
    titles = ("It came back, and is not as it was", "What happened")
    said = follow(saved, "drill-failed", titles[0], **names(tmp_path))
    assert "packages failed" in said
    assert left(saved) == []
    assert "drill failed" in follow(saved, "drill-failed", titles[1], **names(tmp_path))
    saved.root(HOST, f"mv /root/good {path}")
    saved.must("run", DATA)
    said = follow(saved, "drill-failed", "Once it is mended", **names(tmp_path))
    assert "every backup is proved" in said
    assert "all is well" in said


def test_nothing_was_proved(saved: Saved, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    times = {"begun": now, "ended": now, "expires": now + timedelta(hours=6)}
    none = failed(0, id="none", data_set=DATA, outcome="could not start", phase="host", made=(), phases=())
    book.write(load_site(saved.inventory), none.model_copy(update=times))
    said = follow(saved, "drill-failed", "What happened", "Nothing was proved", **names(tmp_path))
    assert "not drilled" in said
    assert "nothing to remove" in said
    assert drills(saved)[0].outcome == "passed"


def test_the_backup_itself_and_a_blind_check(saved: Saved, tmp_path: Path) -> None:
    saved.must("copy")
    titles = ("The backup itself", "A check is blind")
    said = follow(saved, "drill-failed", *titles, **names(tmp_path, fault="wrong owner"))
    assert "sound" in said
    assert "wrong owner was found" in said
    caught, copied = drills(saved)[:2]
    assert (caught.fault, caught.caught) == ("wrong owner", True)
    assert copied.source
    assert (copied.source.store, copied.outcome) == ("copy", "passed")

"""What a host's record of deploys says of the last one, and that it stays small."""

import json
from pathlib import Path

import pytest

from roles.base.deployed import last, shown, told
from roles.common.on_host import deploying

ABOUT: dict[str, object] = {
    "deploy": "web",
    "admin": "alice",
    "git_user": "Alice",
    "address": "192.0.2.7",
    "machine": "laptop",
}
ABOUT |= {"commit": "0123456789", "dirty": False, "pid": 7}


def event(what: str, name: str = "b", time: int = 1_800_000_000, **more: object) -> str:
    about = ABOUT if what == "started" else {}
    return json.dumps({**about, "id": name, "event": what, "time": time, **more})


def test_the_last_deploy_is_told_with_its_own_end() -> None:
    lines = [event("started", "a"), event("failed", "a", at="packages"), event("started", dirty=True)]
    found = last("\n".join(["0", *lines, event("finished", time=1_800_000_060, changes=2)]))
    assert found
    assert (found.deploy, found.result, found.ended, found.changes) == ("web", "finished", 1_800_000_060, 2)
    rows = shown({"web-1": found, "web-2": None})
    assert rows[0][3:] == ("finished", "2", "0123456789 and what was not committed", "alice (Alice), 192.0.2.7")
    assert rows[1][:2] == ("web-2", "never")


@pytest.mark.parametrize(("held", "result"), [("1", "running"), ("0", "cut off")])
def test_what_has_no_end_runs_while_the_lock_is_held(held: str, result: str) -> None:
    found = last("\n".join([held, event("started", "a"), event("finished", "a"), event("started"), '{"id": "c", "ev']))
    assert found
    assert (found.result, found.ended) == (result, None)


def test_a_host_that_was_never_deployed_says_so() -> None:
    assert last("0\n") is None


def test_who_holds_a_lock_is_told_with_what_from_where_and_since_when() -> None:
    whose = "web, of 0123456789, by alice (Alice) from 192.0.2.7 (laptop), since 2027-01-15 08:00:00 UTC"
    assert told({**ABOUT, "time": 1_800_000_000}) == whose


def test_the_record_is_cut_to_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "mainstay/deploys.jsonl"
    monkeypatch.setattr(deploying, "RECORD", record)
    monkeypatch.setattr(deploying, "KEPT_LINES", 3)
    monkeypatch.setattr(deploying, "readable", lambda path: None)
    deploying.bound()
    for number in range(6):
        deploying.write({"number": number})
        if number < 5:
            deploying.bound()
            assert len(record.read_text().splitlines()) == number + 1
    deploying.bound()
    assert [json.loads(line)["number"] for line in record.read_text().splitlines()] == [3, 4, 5]

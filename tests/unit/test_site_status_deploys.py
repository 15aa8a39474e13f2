"""The last deploys of hosts and what hosts noticed of themselves, as `mainstay status` tells both."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from doctor.hosts import Clock
from inventories.inventory import LoadedSite
from roles.base.deployed import Deployed
from status import asked, deploys, drift
from status.host import Said
from tests.unit.ledgers import at
from tests.unit.test_deployed import event
from tests.unit.test_site_status import site_of
from tests.unit.test_site_status_host import WELL
from tests.unit.test_status import NOW

HOUR = 3600
NOON = NOW * HOUR
"""When all hosts are asked; Unix seconds."""
FINISHED = Deployed("web", "finished", 0, 60, "alice", "Alice", "192.0.2.7", "laptop", "0123456789", False, 2, "")
THING = {"kind": "files", "what": "/etc/x", "why": "content", "since": 0, "noticed": NOON}


def said(**changes: Any) -> Said:
    return Said.model_validate(WELL | {"time": NOON, "booted": 0} | changes)


def looked(hours: float, *findings: dict[str, Any], remembered: float = 61) -> dict[str, Any]:
    return {"remembered": remembered, "looked": NOON - hours * HOUR, "findings": findings}


def noticed(told: Said, deploy: Deployed | None = FINISHED) -> tuple[list[str], list[str]]:
    """The kinds of what is found, and the row."""
    seen = drift.together({"web-1": (told, deploy)})
    [row] = seen.tables[0].rows
    assert len(row.cells) == len(drift.LABELS) - 1
    return [one.kind for one in seen.findings], [words for words, _ in row.cells]


def test_what_a_host_noticed_is_told_by_its_names() -> None:
    assert noticed(said(drift=looked(1)))[0] == []
    told = said(drift=looked(1, THING))
    kinds, row = noticed(told)
    assert (kinds, row[2:]) == (["drift"], ["1", "drift"])
    [finding] = drift.together({"web-1": (told, FINISHED)}).findings
    assert "/etc/x (content)" in finding.what
    assert finding.to_do == "docs/runbooks/drift-found.md"


@pytest.mark.parametrize(
    ("told", "deploy", "kinds"),
    [
        (said(drift=looked(40)), FINISHED, ["look overdue"]),
        (said(drift=None), FINISHED, ["look overdue"]),
        (said(drift=None), replace(FINISHED, ended=int(NOON) - HOUR), []),
        (said(drift=looked(40, remembered=NOON - 41 * HOUR), booted=NOON - HOUR), FINISHED, []),
        (said(drift=looked(40, THING)), replace(FINISHED, result="failed"), []),
        (said(drift=looked(40, THING)), replace(FINISHED, result="running", ended=None), []),
        (said(drift=looked(2, THING)), replace(FINISHED, ended=int(NOON) - HOUR), []),
        (said(drift=None), None, []),
    ],
)
def test_a_look_is_overdue_only_once_it_was_due(told: Said, deploy: Deployed | None, kinds: list[str]) -> None:
    assert noticed(told, deploy)[0] == kinds


def test_after_a_deploy_that_did_not_end_the_row_says_that_nothing_is_known() -> None:
    assert noticed(said(drift=looked(1, THING)), replace(FINISHED, result="stopped"))[1][1:3] == [
        "its deploy stopped",
        "?",
    ]


@pytest.mark.parametrize(
    ("events", "held", "kinds"),
    [
        ([event("started"), event("finished", changes=1)], "0", []),
        ([event("started"), event("failed", at="web | files")], "0", ["deploy failed"]),
        ([event("started"), event("stopped")], "0", ["deploy stopped"]),
        ([event("started"), event("broken")], "0", ["deploy broken"]),
        ([event("started")], "0", ["deploy cut off"]),
        ([event("started")], "1", ["deploy runs"]),
        ([], "0", ["never deployed"]),
    ],
)
def test_deploys_that_did_not_come_to_their_end_are_told(events: list[str], held: str, kinds: list[str]) -> None:
    host = asked.Answer(said(deploys="\n".join([held, *events])), Clock(0, 0.5, 1))
    told: asked.Answers = {"web-1": host, "web-2": "no route"}
    seen = deploys.together(deploys.deployed(told), "inventories/prod.py", at(NOW))
    assert [one.kind for one in seen.findings] == kinds
    [row] = seen.tables[0].rows
    assert (row.name, len(row.cells)) == ("web-1", len(deploys.LABELS) - 1)
    assert json.dumps(row.data)
    if "failed" in str(kinds):
        assert "at web | files" in seen.findings[0].what
        assert "deploys/web.py --limit web-1" in seen.findings[0].to_do


def test_all_sources_of_one_look_share_one_question_to_each_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[LoadedSite] = []

    def ask(site: LoadedSite) -> asked.Answers:
        times.append(site)
        return {}

    monkeypatch.setattr(asked, "ask_all", ask)
    asking, site = asked.Asking(), site_of(tmp_path)
    for hour in (NOW, NOW, NOW + 1):
        assert asking(site, at(hour)) == {}
    assert len(times) == 2


def test_a_site_of_which_nothing_is_provisioned_has_no_deploys(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    assert not deploys.SOURCE.applies(site)
    assert not drift.SOURCE.applies(site)

"""A newcomer's first command."""

from typing import Any

import pytest

from tests.conftest import rehearse

pytestmark = pytest.mark.lab
NOTHING = {"nothing to change", "nothing to load"}


def test_the_rehearsal_serves_phones_and_browsers(rehearsal: Any) -> None:
    outcomes = {step["name"]: step["outcome"] for step in rehearsal["steps"]}
    assert outcomes["fetch as a phone does"] == "4 incremental and 4 full updates, by IPv4 and IPv6"
    assert outcomes["fetch as a browser does"] == "20 pages, by IPv4 and IPv6"
    assert "failed" not in outcomes.values()


def test_a_second_rehearsal_changes_nothing(rehearsal: Any) -> None:
    changing = [step for step in rehearse()["steps"] if step["name"].startswith(("deploys/", "load"))]
    assert len(changing) == 3
    assert {step["outcome"] for step in changing} <= NOTHING

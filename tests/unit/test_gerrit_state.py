"""What Gerrit says of itself, as its host reads it and as metrics."""

import pytest

from roles.gerrit.tree.usr.local.lib.mainstay import gerrit_state

TOLD = {
    "time": "2026-11-27T15:00:00+00:00",
    "wrong": [],
    "version": "3.13.5",
    "unit": {"state": "active (running)", "restarts": 2, "since": 1795791639},
    "site_version": "3.13.5",
    "plugins": {'a"b': "1.0"},
    "queues": {"WorkQueue": {"ready": 1, "sleeping": 2}},
    "java": {"used": 100, "limit": 1000, "threads": 93},
    "caches": {"accounts-v2": 24576},
    "changes_day": 4,
    "ssh_seconds": 0.25,
    "clone_seconds": 0.5,
    "disk": {"size": 1000, "free": 900},
}


@pytest.mark.parametrize(
    ("text", "found"), [("0.00k", 0), ("96.77m", 101470700), ("2g", 2 << 30), ("7", 7), ("1.5t", 3 << 39)]
)
def test_sizes_are_read(text: str, found: int) -> None:
    assert gerrit_state.size(text) == found


@pytest.mark.parametrize("text", ["", "m", "1.0.0m", "3x"])
def test_what_is_no_size_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        gerrit_state.size(text)


def test_tasks_are_counted_by_queue_and_state() -> None:
    tasks = [{"queue_name": name, "state": state} for name, state in (("b", "READY"), ("a", "RUNNING"), ("b", "READY"))]
    assert gerrit_state.queues(tasks) == {"a": {"running": 1}, "b": {"ready": 2}}


def test_metrics_have_all_that_is_known_and_say_what_they_are() -> None:
    lines = gerrit_state.exposition(TOLD).splitlines()
    for line in (
        "mainstay_gerrit_up 1",
        'mainstay_gerrit_info{version="3.13.5"} 1',
        r'mainstay_gerrit_plugin_info{plugin="a\"b",version="1.0"} 1',
        'mainstay_gerrit_tasks{queue="WorkQueue",state="ready"} 1',
        "mainstay_gerrit_heap_used_bytes 100",
        'mainstay_gerrit_cache_disk_bytes{cache="accounts-v2"} 24576',
        "mainstay_gerrit_clone_seconds 0.5",
        "mainstay_gerrit_free_bytes 900",
    ):
        assert line in lines
    assert {line.split()[2] for line in lines if line.startswith("# HELP")} == {*gerrit_state.HELP}


def test_of_a_server_that_is_down_nothing_is_made_up() -> None:
    unknown = dict.fromkeys({*TOLD} - {"time", "wrong"})
    lines = [line for line in gerrit_state.exposition(TOLD | unknown).splitlines() if not line.startswith("#")]
    assert lines == ["mainstay_gerrit_state_time_seconds 1795791600", "mainstay_gerrit_up 0"]

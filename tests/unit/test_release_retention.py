"""What of old builds goes, and what stays whatever the policy says."""

import subprocess
from pathlib import Path

import pytest

from roles.release.archive import Offer
from roles.release.tools.repository import Repository
from roles.release.tools.retention import DAY_S, Kept, ended, superseded

NOW = 1_800_000_000
KEPT = Kept(builds=2, days=100)
OFFERS = {("panther", "stable"): Offer("5", 5, "16"), ("panther", "oldstable"): Offer("4", 4, "16")}
OVER = {("panther", build): NOW - days * DAY_S for build, days in (("4", 10), ("3", 99), ("2", 101), ("1", 400))}


def full(build: str, device: str = "panther") -> str:
    return f"ota/{device}/16/{device}-ota_update-{build}.zip"


def goes(*paths: str, kept: Kept = KEPT) -> list[str]:
    return superseded(paths, OFFERS, OVER, NOW, kept)


EVERY = tuple(full(str(build)) for build in range(1, 6))


def test_what_was_offered_last_long_ago_goes_with_its_checksum() -> None:
    assert goes(*EVERY, f"{full('1')}.sha256sum") == [full("1"), f"{full('1')}.sha256sum", full("2")]


@pytest.mark.parametrize("build", ["4", "5"])
def test_what_any_channel_offers_stays_however_long_ago_another_ceased_to(build: str) -> None:
    assert superseded([full(build), *EVERY], OFFERS, OVER | {("panther", build): 0}, NOW, Kept(1, 0)) == [
        full("1"),
        full("2"),
        full("3"),
    ]


def test_the_last_builds_of_a_device_stay_however_old() -> None:
    assert goes(*EVERY, kept=Kept(5, 0)) == []
    assert goes(full("1"), full("2")) == []


def test_incrementals_go_with_the_build_that_they_lead_to() -> None:
    ways = [f"ota/panther/16/panther-incremental-{old}-{new}.zip" for old, new in (("1", "2"), ("2", "3"), ("1", "5"))]
    assert goes(*EVERY, *ways) == sorted([full("1"), full("2"), ways[0]])


def test_what_was_never_offered_or_is_no_package_stays() -> None:
    assert goes(*EVERY[2:], full("0"), full("1", "shiba"), "device-flasher/1.0/flasher.exe", "ota/x") == []


def test_when_a_build_was_offered_last_is_read_from_history(tmp_path: Path) -> None:
    def git(*words: str, at: int = 0) -> None:
        who = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = who | {"GIT_COMMITTER_DATE": f"{at} +0000", "PATH": "/usr/bin:/bin"}
        subprocess.run(["git", "-C", tmp_path / "work", *words], env=env, check=True)

    folder = tmp_path / "work/ota/panther"
    folder.mkdir(parents=True)
    git("init", "-q", "-b", "main")
    states = [{"testing": "1"}, {"testing": "2", "stable": "1"}, {"testing": "3", "stable": "2"}, {"testing": "4"}]
    for number, state in enumerate(states, 1):
        for channel, build in state.items():
            (folder / f"panther-{channel}").write_text(f"{build} {build} 16\n")
        (folder / "panther-testing-changelog.html").write_text(f"log{number} 1 16\n<b>{number}</b>\n")
        git("add", ".")
        git("commit", "-qm", "x", at=number * 1_000_000_000)
    repository = Repository(str(tmp_path / "work"), tmp_path / "cache")
    over = ended(repository, repository.fetch())
    assert over == {("panther", "1"): 3_000_000_000, ("panther", "3"): 4_000_000_000, ("panther", "2"): 3_000_000_000}

"""The runbook for damage, followed to the letter, mends it from wherever the data still is."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runbooks.reader import follow
from tests.saved_site import DATA, HOST, PLAN, REPOSITORY_OF_IT, Saved

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

VAULT, ROOT = "vault-1", "/srv/release"
OF = {"host": HOST, "role": PLAN}


def packs(saved: Saved) -> list[str]:
    """At the vault, the largest first."""
    listed = f'find {REPOSITORY_OF_IT}/data -type f -printf "%s %p\\n" | sort -rn | cut -d" " -f2'
    return saved.root(VAULT, listed).splitlines()


@pytest.mark.parametrize(
    "damage",
    [
        "printf %032d 0 | dd of={} bs=1 seek=1000 conv=notrunc status=none",
        pytest.param("truncate -s 1000 {}", marks=pytest.mark.full),
        pytest.param("rm {}", marks=pytest.mark.full),
    ],
)
def test_verification_failed_and_the_host_has_the_data(saved: Saved, damage: str, tmp_path: Path) -> None:
    damaged = packs(saved)[0]
    saved.root(VAULT, damage.format(damaged))
    said = follow(
        saved, "verification-failed", "What is hit", "Mend it from what the host still has", **mending(tmp_path)
    )
    assert Path(damaged).name in said
    assert "hits /public/" in said
    assert "part 1 of 1: sound" in said
    assert "all is well" in said


@pytest.mark.full
def test_verification_failed_and_nobody_has_the_data(saved: Saved, tmp_path: Path) -> None:
    spoil_what_the_host_lost(saved, copied=False)
    titles = ("What is hit", "Mend it from what the host still has", "What nobody has any more")
    said = follow(saved, "verification-failed", *titles, **mending(tmp_path))
    assert "hits /public/gone" in said
    assert "DAMAGED" in said
    assert said.rstrip().endswith("all is well")


@pytest.mark.full
def test_verification_failed_and_the_second_copy_has_the_data(saved: Saved, tmp_path: Path) -> None:
    spoil_what_the_host_lost(saved, copied=True)
    titles = ("What is hit", "Mend it from what the host still has", "Mend it from the second copy")
    said = follow(saved, "verification-failed", *titles, **mending(tmp_path))
    assert "hits /public/gone" in said
    assert "DAMAGED" in said
    assert said.rstrip().endswith("all is well")
    saved.must("restic", DATA, "find", "gone")


@pytest.mark.full
@pytest.mark.parametrize("damage", ["printf %032d 0 | dd of={} bs=1 seek=1000 conv=notrunc status=none", "rm {}"])
def test_verification_failed_in_the_second_copy(saved: Saved, damage: str, tmp_path: Path) -> None:
    before = copied_packs(saved)
    saved.root(HOST, f"sudo -u release dd if=/dev/urandom of={ROOT}/public/new bs=1M count=3 status=none")
    saved.must("run", DATA)
    saved.must("copy", DATA)
    largest = max(copied_packs(saved) - before, key=lambda one: one.stat().st_size)
    subprocess.run(["sh", "-ec", damage.format(largest)], check=True)
    said = follow(saved, "verification-failed", "The second copy is hit", **mending(tmp_path))
    assert f"{DATA} in the second copy: part 1 of 1: DAMAGED" in said
    assert said.rstrip().endswith("all is well")


def copied_packs(saved: Saved) -> set[Path]:
    """In the second copy, on its disk."""
    bucket = saved.lab.root / "storage/data/mainstay" / HOST / PLAN / "data"
    return {one for one in bucket.rglob("*") if one.is_file()}


@pytest.mark.full
@pytest.mark.parametrize("lost", ["config", "keys"])
def test_a_repository_that_cannot_be_opened_any_more(saved: Saved, lost: str, tmp_path: Path) -> None:
    saved.must("copy", DATA)
    saved.root(VAULT, f"rm -r {REPOSITORY_OF_IT}/{lost}")
    said = follow(saved, "verification-failed", "It cannot be opened any more", **mending(tmp_path))
    assert said.rstrip().endswith("all is well")


def spoil_what_the_host_lost(saved: Saved, *, copied: bool) -> None:
    """A file that was saved, and copied or not, and is on the host no more: its pack is removed."""
    before = packs(saved)
    saved.root(HOST, f"sudo -u release dd if=/dev/urandom of={ROOT}/public/gone bs=1M count=3 status=none")
    saved.must("run", DATA)
    if copied:
        saved.must("copy", DATA)
    saved.root(HOST, f"rm {ROOT}/public/gone")
    largest = next(one for one in packs(saved) if one not in before)
    saved.root(VAULT, f"rm {largest}")


def mending(folder: Path) -> dict[str, Any]:
    work = folder / "with blanks"
    work.mkdir(exist_ok=True)
    return {**OF, "vault": VAULT, "work": work, "why": "damaged, and the host no longer had the data"}

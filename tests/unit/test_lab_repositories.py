"""The lab's repositories of metadata and checksums, as far as they can be told without a lab."""

import subprocess
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from lab import repositories, sample
from lab.command import BASE
from lab.engine import LabConfig
from roles.control.settings import Settings
from roles.release.settings import Settings as ReleaseSettings


def test_the_labs_inventory_says_where_it_is() -> None:
    declared = load_site(REPOSITORY / "inventories/lab.toml").settings("control-1")["control"]
    assert isinstance(declared, Settings)
    config = LabConfig("lab", 0, BASE / "labs/lab")
    assert declared.mirrors == {
        "checksums": repositories.CHECKSUMS.url(config),
        "release-metadata": repositories.METADATA.url(config),
    }
    release = load_site(REPOSITORY / "inventories/lab.toml").settings("release-1")["release"]
    assert isinstance(release, ReleaseSettings)
    assert (release.metadata, release.checksums_push) == (
        str(repositories.METADATA.path(config)),
        str(repositories.CHECKSUMS.path(config)),
    )


@pytest.mark.parametrize("kept", [repositories.CHECKSUMS, repositories.METADATA], ids=lambda one: one.name)
def test_it_is_the_same_commit_in_every_lab_and_made_once(tmp_path: Path, kept: repositories.Kept) -> None:
    heads = set()
    for name in ("one", "other"):
        config = LabConfig(name, 1, tmp_path / name)
        config.root.mkdir()
        repositories.make(config)
        repositories.make(config)
        bare = kept.path(config)
        words = ["git", "-C", str(bare), "log", "--format=%H %an %at %cn %ct", "main"]
        heads.add(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        assert [path.name for path in config.root.iterdir()] == ["git"]
    by = f"{repositories.WHO} {sample.CURRENT.timestamp}"
    [head] = heads
    assert head.partition(" ")[2] == f"{by} {by}\n"
    words = ["git", "-C", str(bare), "ls-tree", "-r", "--name-only", "main"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    kept.write(tmp_path / "list")
    files = [path for path in (tmp_path / "list").rglob("*") if path.is_file()]
    assert listed == sorted(str(path.relative_to(tmp_path / "list")) for path in files)
    assert kept.first(config) == head.partition(" ")[0]

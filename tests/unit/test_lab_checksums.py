"""The lab's list of checksums, as far as it can be told without a lab."""

import subprocess
from pathlib import Path

from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from lab import checksums, sample
from lab.engine import LabConfig
from roles.control.settings import Settings


def test_the_labs_inventory_says_where_it_is() -> None:
    declared = load_site(REPOSITORY / "inventories/lab.toml").settings("control-1")["control"]
    assert isinstance(declared, Settings)
    assert declared.mirrors == {"checksums": checksums.url(LabConfig("lab", 0, Path("/")))}


def test_it_is_the_same_commit_in_every_lab_and_made_once(tmp_path: Path) -> None:
    heads = set()
    for name in ("one", "other"):
        config = LabConfig(name, 1, tmp_path / name)
        config.root.mkdir()
        checksums.make(config)
        checksums.make(config)
        bare = checksums.folder(config) / checksums.NAME
        words = ["git", "-C", str(bare), "log", "--format=%H %an %at %cn %ct", "main"]
        heads.add(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        assert [path.name for path in config.root.iterdir()] == ["git"]
    by = f"{checksums.WHO} {sample.CURRENT.timestamp}"
    [head] = heads
    assert head.partition(" ")[2] == f"{by} {by}\n"
    words = ["git", "-C", str(bare), "ls-tree", "-r", "--name-only", "main"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    sample.checksums(tmp_path / "list")
    assert listed == sorted(
        str(path.relative_to(tmp_path / "list")) for path in (tmp_path / "list").rglob("*.sha256sum")
    )

"""Which packs restic reads for part n of t: what the proof of coverage rests upon."""

import os
from pathlib import Path

import pytest

from backup.restic import Restic
from backup.restic_process import Repository
from tests.restics import VERSIONS, by_version, restic

PARTS = 4


@pytest.mark.parametrize("version", by_version(*VERSIONS))
def test_a_part_holds_the_packs_of_every_t_th_first_byte(tmp_path: Path, version: str) -> None:
    made = Restic(Repository(str(tmp_path / "repository"), "secret", cache=tmp_path / "cache"), restic(version))
    made.init()
    source = tmp_path / "source"
    source.mkdir()
    for number in range(PARTS):
        (source / f"file{number}").write_bytes(os.urandom(1000))
        made.backup(source, host="alice", tags=["data"])
    packs = [pack for pack in (tmp_path / "repository/data").rglob("*") if pack.is_file()]
    assert len(packs) >= 2 * PARTS
    for pack in packs:
        pack.chmod(0o600)
        content = bytearray(pack.read_bytes())
        content[10] ^= 1
        pack.write_bytes(content)
    trees = set(made.check().packs)
    assert len(trees) <= PARTS
    for n in range(PARTS):
        mine = {pack.name for pack in packs if int(pack.name[:2], 16) % PARTS == n}
        found = set(made.check((n + 1, PARTS)).packs)
        assert mine <= found <= mine | trees

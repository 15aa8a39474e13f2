"""The file that Prometheus reads says what status found."""

import re
from dataclasses import replace
from pathlib import Path

from backup.data_set import Certificate, Kind
from backup.metrics import render, write
from tests.unit.ledgers import at
from tests.unit.test_status import DAY, NOW, good, look, snapshots


def samples(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(mainstay\S*(?:\{.*\})?) (\S+)$", text, re.M)}


def test_a_data_set_in_order() -> None:
    found = samples(render([look(good())], at(NOW)))
    labels = '{host="release-1",plan="release"}'
    assert found["mainstay_backup_status_time_seconds"] == at(NOW).timestamp()
    assert found[f"mainstay_backup_last_good_time_seconds{labels}"] == at(40 * DAY).timestamp()
    assert found[f"mainstay_backup_rpo_seconds{labels}"] == 30 * 3600
    assert found[f"mainstay_backup_size_bytes{labels}"] == 1_000_000
    assert found[f"mainstay_backup_snapshots{labels}"] == 41
    assert found[f"mainstay_backup_read_ratio{labels}"] == 1
    assert found[f"mainstay_backup_copy_time_seconds{labels}"] == at(40 * DAY).timestamp()
    assert found[f"mainstay_backup_copies{labels}"] == 2
    findings = {name: value for name, value in found.items() if "finding" in name}
    assert len(findings) == len(Kind)
    assert not any(findings.values())


def test_findings_are_one_and_what_is_not_known_is_left_out() -> None:
    row = look(good(ledger=[], control=[], vault=None, copy=None))
    found = samples(render([row], at(NOW)))
    ones = [name for name, value in found.items() if "finding" in name and value == 1]
    assert len(ones) == len(row.findings) == 2
    assert any('finding="never ran",severity="critical"' in name for name in ones)
    assert found['mainstay_backup_last_good_time_seconds{host="release-1",plan="release"}'] == 0
    assert found['mainstay_backup_copies{host="release-1",plan="release"}'] == 0
    assert not any("size" in name or "copy" in name for name in found if "finding" not in name)


def test_the_end_of_each_certificate_is_told_by_host_and_name() -> None:
    ends = {"a.example.org": at(NOW + 1), "b.example.org": at(NOW - 1)}
    row = replace(look(good()), certificates=tuple(Certificate(name, end) for name, end in ends.items()))
    found = samples(render([row], at(NOW)))
    name = 'mainstay_certificate_not_after_time_seconds{{host="release-1",plan="release",name="{}"}}'
    assert {one: found[name.format(one)] for one in ends} == {one: end.timestamp() for one, end in ends.items()}


def test_the_file_is_replaced_whole_and_readable_by_the_exporter(tmp_path: Path) -> None:
    path = tmp_path / "mainstay-backup.prom"
    write(path, [look(good(vault=snapshots(0)))], at(NOW))
    write(path, [look(good())], at(NOW))
    assert path.read_text() == render([look(good())], at(NOW))
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]

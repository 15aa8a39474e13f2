"""Release servers are audited: damage of each kind is found and named, and a clean archive of the real shape is clean.

nginx of Debian 13 runs on this machine with the role's own configuration; disks are looked at by the program that goes
over ssh.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from lab.release_archive import COMMIT, DEVICES, RETIRED, UNRECORDED
from lab.release_archive import archive as real_archive
from roles.release.tools.audit import told
from roles.release.tools.audit.audit import Verdict, audit
from roles.release.tools.audit.findings import Finding, Kind
from roles.release.tools.audit.reader import reader
from roles.release.tools.audit.reading import Record
from tests.audited import Audited, audited
from tests.planted import BOTH, DAMAGES, ONE, OTHER, SPOILT, Damage, Told, World, nothing


def said(found: list[Finding]) -> Told:
    return {(one.server, one.kind, one.path) for one in found}


GAPS = DEVICES[3:12]
BY_CONFIGURATION = tuple(one for one in DAMAGES if one.do is nothing)
ON_DISK = tuple(one for one in DAMAGES if one.do is not nothing)
FREE = [one for one in DEVICES if one not in GAPS]
PLANTED = dict(zip((one.name for one in BY_CONFIGURATION), FREE, strict=False))
SHARED = FREE[len(BY_CONFIGURATION) :]
"""Devices that others are planted on: in each of two worlds one on each."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    with audited(real_archive(), tmp_path_factory.mktemp("clean")) as both:
        yield both


def test_disks_are_looked_at_without_rights_to_read_or_change(clean: Audited, tmp_path: Path) -> None:
    """As the control host does, by a program there."""
    (tmp_path / "read_packages.py").write_bytes(reader())
    words = (sys.executable, "-IS", str(tmp_path / "read_packages.py"), "look")
    by_key = [
        replace(one, place=replace(one.place, command=partial(_words, *words, one.place.root)), program=None)
        for one in clean.targets()
        if one.place
    ]
    verdict = audit(clean.truth(), by_key, Record({}, {}), clean.now)
    assert [str(one) for one in verdict.wrong] == []
    assert [one.commit for one in verdict.servers] == [COMMIT] * 2
    asked = [{"do": "digest", "path": "public/x.zip"}, {"do": "tails", "paths": ["../../site.pem"]}, {"do": "x"}]
    lines = "".join(f"{json.dumps(one)}\n" for one in asked)
    done = subprocess.run([*words, clean.volumes[ONE]], input=lines, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told == [
        {"ok": False, "why": "unknown request 'digest'"},
        {"ok": True, "tails": {}},
        {"ok": False, "why": "unknown request 'x'"},
    ]


def _words(*words: str) -> tuple[str, ...]:
    return words[:5]


def test_each_of_a_servers_addresses_is_asked(clean: Audited) -> None:
    silent = [replace(one, also=(replace(one.asked, port=1),)) for one in clean.targets()]
    verdict = audit(clean.truth(), silent, Record({}, {}), clean.now)
    told = "127.0.0.1 port 1: Connection refused"
    assert [(one.server, one.kind, one.found) for one in verdict.wrong] == [(n, Kind.UNREACHABLE, told) for n in BOTH]
    assert [one.answers for one in verdict.servers] == [False, False]
    unasked = [replace(one, unasked=("2001:db8::1",)) for one in clean.targets()]
    verdict = audit(clean.truth(), unasked, Record({}, {}), clean.now)
    assert verdict.wrong == []
    assert [(one.server, one.found) for one in verdict.told if one.kind is Kind.UNASKED] == [
        (name, "2001:db8::1 was not asked") for name in BOTH
    ]


def test_a_clean_archive_of_the_real_shape_is_clean(clean: Audited) -> None:
    """28 devices with 6 channels and more, two servers: what is not recorded yet is told, and nothing else."""
    clean.record.last = dict.fromkeys(BOTH, clean.now.timestamp() - 40 * 86400)
    verdict = clean.audit(deep=True)
    assert [str(one) for one in verdict.wrong] == []
    assert said(verdict.told) == {(one, Kind.UNLISTED, path) for one in BOTH for path in UNRECORDED}
    assert told.exit_code(verdict.wrong) == 0
    assert [(one.answers, one.commit) for one in verdict.servers] == [(True, COMMIT)] * 2
    assert [one.coverage.share for one in verdict.servers if one.coverage] == [1.0, 1.0]
    assert len({device for device, _ in verdict.truth.lines}) == 28
    assert verdict.requests > 1200


@dataclass(frozen=True)
class Spoilt:
    """What audits of the damaged world found: quick, deep, from outside alone, and on the disk alone. devices: by the
    damage's name."""

    quick: Verdict
    deep: Verdict
    outside: Verdict
    inside: Verdict
    devices: dict[str, str]

    def expected(self, *, deep: bool) -> Told:
        mine = [one for one in DAMAGES if one.name in self.devices and (deep or not one.deep)]
        return {line for one in mine for line in one.told(self.devices[one.name])}


def plant(folder: Path, damages: tuple[Damage, ...]) -> Spoilt:
    """Each on a device of its own, all at once."""
    archive = real_archive()
    metadata, checksums = dict(archive.metadata), dict(archive.checksums)
    spoilt = replace(archive, metadata=metadata, checksums=checksums)
    with audited(spoilt, folder, SPOILT.format(*PLANTED.values())) as both:
        world = World(both.volumes, metadata, checksums)
        devices = PLANTED | dict(zip((one.name for one in damages), SHARED, strict=False))
        assert {*devices} == {*PLANTED, *(one.name for one in damages)}
        for one in damages:
            one.do(world, devices[one.name])
        quick = both.audit()
        outside = audit(both.truth(), [replace(one, place=None) for one in both.targets()], Record({}, {}), both.now)
        silent = [replace(one, asked=replace(one.asked, port=1)) for one in both.targets()]
        inside = audit(both.truth(), silent, Record({}, {}), both.now)
        both.record.last = dict.fromkeys(BOTH, both.now.timestamp() - 40 * 86400)
        return Spoilt(quick, both.audit(deep=True), outside, inside, devices)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[Spoilt]:
    return [
        plant(tmp_path_factory.mktemp(f"spoilt-{number}"), ON_DISK[number : number + len(SHARED)])
        for number in range(0, len(ON_DISK), len(SHARED))
    ]


RETIRED_TOO: Told = {
    (OTHER, Kind.RETIRED, f"ota/{RETIRED}/{RETIRED}-stable"),
    (OTHER, Kind.RETIRED, f"factory/{RETIRED}/"),
}
"""The other server's configuration does not know of it."""


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.name)
def test_damage_is_found_and_named(damage: Damage, worlds: list[Spoilt]) -> None:
    one = next(one for one in worlds if damage.name in one.devices)
    device = one.devices[damage.name]
    found = one.deep if damage.deep else one.quick
    wanted = damage.told(device)
    assert wanted <= said([*found.findings])
    for finding in found.findings:
        if (finding.server, finding.kind, finding.path) in wanted:
            assert finding.device == device
            assert finding.kind.to_do in str(finding)
    assert any(one.kind.word == "retired, still served" for one in found.wrong)


@pytest.mark.parametrize("damage", [one for one in DAMAGES if one.by], ids=lambda one: one.name)
def test_either_look_finds_it_alone(damage: Damage, worlds: list[Spoilt]) -> None:
    """What can be seen from outside needs no log-in, and what lies on the disk no nginx."""
    one = next(one for one in worlds if damage.name in one.devices)
    wanted = damage.told(one.devices[damage.name])
    for way in damage.by.split(", "):
        verdict: Verdict = getattr(one, way)
        assert wanted <= said([*verdict.findings]), way


def test_nothing_else_is_found(worlds: list[Spoilt]) -> None:
    """And damage is named once, on the server that has it."""
    for world in worlds:
        for deep, verdict in ((False, world.quick), (True, world.deep)):
            found = {one for one in said([*verdict.findings]) if one[1] is not Kind.UNLISTED}
            assert found == world.expected(deep=deep) | RETIRED_TOO
            assert told.exit_code(verdict.wrong) == 51

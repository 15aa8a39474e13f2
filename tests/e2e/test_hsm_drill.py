"""A drill of a signing host's backup: on this machine, and on a throwaway VM."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.converge import REPOSITORY
from lab import lifecycle
from lab.signing import drilling, restored
from lab.signing.drilling import FAILED, NotStarted, Order, Report
from tests.hsm_saved import CERTIFICATE, SPOILT, Spoil, resum
from tests.hsm_site import PASSWORDS, Site
from tests.labs import lab_name
from tests.waiting import until

pytestmark = pytest.mark.lab


@pytest.fixture
def order(request: pytest.FixtureRequest) -> Iterator[Order]:
    """On this machine, with a folder in memory of its own, of which nothing is to be left."""
    made = Order(vm=False, lab=f"test-{os.getpid()}")
    yield made
    memory = drilling.MEMORY / f"mainstay-{made.lab}"
    assert not memory.exists()
    assert subprocess.run(["pgrep", "-f", memory], check=False).returncode == 1
    memory.with_name(f"{memory.name}.lock").unlink(missing_ok=True)


def drill(folder: Path, order: Order, wrap_key: str = PASSWORDS["main"]) -> Report:
    return drilling.drill(folder, lambda _: wrap_key, order, print)


def failed(report: Report) -> dict[str, list[str]]:
    return {name: found for name, found in report.checks.items() if found}


@pytest.mark.parametrize(("spoil", "check", "told"), SPOILT)
def test_a_drill_names_what_is_wrong_even_where_checksums_say_otherwise(
    medium: Path, tmp_path: Path, order: Order, spoil: Spoil, check: str, told: str
) -> None:
    copy = Path(shutil.copytree(medium, tmp_path / "copy"))
    spoil(copy)
    resum(copy)
    report = drill(copy, order)
    assert report.exit_code == FAILED
    assert [*failed(report)] == [check]
    assert told in " ".join(report.checks[check])


def test_a_drill_brings_every_key_back_and_each_signs(medium: Path, order: Order) -> None:
    report = drill(medium, replace(order, published=medium / "keys"))
    assert (report.exit_code, failed(report)) == (0, {})
    assert [(one["name"], one["check"]) for one in report.keys] == [("releasekey", ""), ("platform", "")]
    told = report.as_json()
    assert {one["outcome"] for one in told["checks"]} == {"passed"}


def test_another_wrap_key_is_told_as_such(medium: Path, order: Order) -> None:
    assert [*failed(drill(medium, order, "5b" * 32))] == ["wrap key"]
    assert [*failed(drill(medium, order, "5b"))] == ["wrap key"]


def test_a_published_key_that_is_in_no_backup_is_told(
    signing_host: Site, medium: Path, order: Order, tmp_path: Path
) -> None:
    shutil.copy(medium / CERTIFICATE, tmp_path / "panther.x509.pem")
    path = signing_host.certify(0x0999, public=ec.generate_private_key(ec.SECP256R1()).public_key())
    path.rename(tmp_path / "shiba.x509.pem")
    report = drill(medium, replace(order, published=tmp_path))
    assert failed(report) == {"published": ["shiba.x509.pem: no key that was brought back is its"]}


def test_a_folder_from_before_something_was_declared_is_told(
    signing_host: Site, medium: Path, order: Order, tmp_path: Path
) -> None:
    now = tmp_path / "hsm.toml"
    now.write_text(signing_host.file.read_text() + '\n[keys.another]\nid = 0x0103\nclass = "exportable"\n')
    assert [*failed(drill(medium, replace(order, declared=now)))] == ["declaration"]


def test_more_keys_than_a_device_has_room_for_are_brought_back_by_turns(
    medium: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restored, "AT_ONCE", 1)
    report = drill(medium, order)
    assert (report.exit_code, len(report.keys)) == (0, 2)


def test_what_is_no_saved_folder_starts_no_drill(order: Order, tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match=r"no SHA256SUMS"):
        drill(tmp_path, order)


def test_a_machine_that_swaps_is_refused(
    medium: Path, order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps = tmp_path / "swaps"
    swaps.write_text("Filename Type Size Used Priority\n/dev/vdb partition 1 0 -2\n")
    monkeypatch.setattr(drilling, "SWAPS", swaps)
    with pytest.raises(NotStarted, match="swapoff"):
        drill(medium, order)


def test_the_command_tells_it_in_words_and_for_programs_and_leaves_nothing_when_it_is_ended(
    signing_host: Site, medium: Path
) -> None:
    memory = drilling.MEMORY / f"mainstay-{drilling.LAB}"
    words = [sys.executable, "-m", "cli.main", "hsm", "drill", str(medium), "--here"]
    words += ["--password-file", str(signing_host.folder / "main")]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "passed: 2 keys signed as the certificates say" in done.stdout
    assert PASSWORDS["main"] not in done.stdout + done.stderr
    told = subprocess.run([*words, "--json"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert json.loads(told.stdout)["outcome"] == "passed"
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ended:
        until("a device", lambda: (memory / "device/memory").exists())
        ended.send_signal(signal.SIGTERM)
        assert ended.wait(60) == 44
    assert not memory.exists()
    assert subprocess.run(["pgrep", "-f", memory], check=False).returncode == 1


def test_what_a_killed_drill_left_is_gone_with_the_next(medium: Path, order: Order) -> None:
    memory = drilling.MEMORY / f"mainstay-{order.lab}"
    code = (
        "from pathlib import Path; from lab.signing import drilling; "
        f"drilling.drill(Path({str(medium)!r}), lambda _: {PASSWORDS['main']!r}, "
        f"drilling.Order(vm=False, lab={order.lab!r}), print)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.DEVNULL) as killed:
        until("a device", lambda: (memory / "device/pid").exists())
        killed.kill()
    assert memory.exists()
    assert drill(medium, order).exit_code == 0


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_backup_is_brought_back_on_a_throwaway_host_with_the_role(medium: Path) -> None:
    name = lab_name("drill")
    report = drill(medium, Order(published=medium / "keys", lab=name))
    assert (report.exit_code, failed(report)) == (0, {})
    assert len(report.keys) == 2
    assert lifecycle.find(name) is None
    assert not (drilling.MEMORY / f"mainstay-{name}").exists()

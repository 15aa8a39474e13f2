"""What `bin/rehearse --with signing` does, on hosts of a lab of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab import network
from lab.engine import LabConfig
from lab.rehearse import Rehearsal
from lab.rehearse_signing import Plug, signing
from lab.signing import releasing, site
from lab.signing.host import HostError, SigningHost
from roles.signing.settings import CONNECTOR_PORT
from tests.labs import own_lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
CONTAINER = "vc2-1c-2gb"


@contextmanager
def on_loopback(folder: Path) -> Iterator[Plug]:
    """Has simulated devices answer in the place of the connectors, on the loopback of a host that has no USB."""
    with ExitStack() as stack:

        def bring(host: SigningHost) -> str:
            space = network.netns(host.lab, host.instance)
            for at, (name, serial) in enumerate(host.serials.items()):
                host.run(f"sudo systemctl mask --quiet --runtime signing-connector@{serial:010}.service")
                words = ["ip", "netns", "exec", space, sys.executable, "-m", "lab.hsm", "--state", str(folder / name)]
                words += ["--port", str(CONNECTOR_PORT + at), "--serial", str(serial)]
                stack.callback(subprocess.Popen(words).terminate)
            return "on loopback"

        yield bring


def outcomes(rehearsal: Rehearsal) -> dict[str, str]:
    return {step.name: step.outcome for step in rehearsal.steps}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabConfig]:
    with own_lab("signs", prepared=True) as config:
        yield config


def test_from_nothing_to_a_signed_release_and_a_second_time(lab: LabConfig, tmp_path: Path) -> None:
    first, again = Rehearsal(verbose=False), Rehearsal(verbose=False)
    with on_loopback(tmp_path) as bring:
        signing(first, lab, plan=CONTAINER, bring=bring)
        told = outcomes(first)
        assert told["mainstay hsm apply"] == "2 devices as they are declared"
        assert told["sign an OTA package through PKCS#11"] == "publishable: 1 package"
        assert told["mainstay hsm drain, verify"].endswith("and 3 signatures that are the release's")
        signing(again, lab, plan=CONTAINER, bring=lambda _: "there already")
        told = outcomes(again)
        assert told["deploys/signing.py on signing"] == "nothing to change"
        assert told["mainstay hsm apply"] == "all is as it is declared"
        host = SigningHost.of(lab, site.inventory(lab, plan=CONTAINER))
        since = releasing.begun(host)
        releasing.ota(host, tmp_path / "release")
        with pytest.raises(HostError, match=r"sign-pkcs1 by 0x0102: 2 expected, 0 in the logs"):
            releasing.verified(host, since)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_same_on_a_kernel_of_its_own_with_the_devices_in_its_usb_ports() -> None:
    with own_lab("signs-vm") as config:
        rehearsal = Rehearsal(verbose=False)
        signing(rehearsal, config)
    told = outcomes(rehearsal)
    assert told["boot the signing host with what was deployed"] == "lockdown integrity, modules closed"
    assert told["sign an OTA package through PKCS#11"] == "publishable: 1 package"
    assert told["mainstay hsm drain, verify"].endswith("and 3 signatures that are the release's")

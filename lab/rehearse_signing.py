"""`bin/rehearse --with signing`: a signing host from nothing to a release that is signed, and a log that says so."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backup.sizes import counted
from lab.engine import LabConfig
from lab.signing import building, releasing, site
from lab.signing.host import HostError, SigningHost, devices, plug

if TYPE_CHECKING:
    from lab.rehearse import Rehearsal
Plug = Callable[[SigningHost], str]


def by_usb(host: SigningHost) -> str:
    """Two simulated devices come to be, and into the ports of the VM."""
    plug(host, devices(host.lab, host.serials))
    return ", ".join(f"{name} {serial}" for name, serial in host.serials.items())


def signing(rehearsal: "Rehearsal", lab: LabConfig, *, plan: str = site.VM, bring: Plug = by_usb) -> None:
    """All steps in order. bring: how the devices come to the host. Raises what a step raises."""
    inventory = site.inventory(lab, plan=plan)
    rehearsal.deploy("provision", inventory)
    changed = rehearsal.deploy("signing", inventory)
    host = SigningHost.of(lab, inventory)
    if changed and plan == site.VM:
        rehearsal.run("boot the signing host with what was deployed", lambda: booted(host))
    rehearsal.run("plug in the HSMs", lambda: bring(host))
    rehearsal.run("mainstay hsm apply", lambda: building.build(host))
    since = releasing.begun(host)
    rehearsal.run("sign an OTA package through PKCS#11", lambda: ota(host))
    rehearsal.run("sign an app through PKCS#11", lambda: f"by the certificate {releasing.app(host, lab.root)[:16]}...")
    rehearsal.run("mainstay hsm drain, verify", lambda: releasing.verified(host, since))


def booted(host: SigningHost) -> str:
    """What a kernel of its own has in force only then."""
    host.reboot()
    state = host.state()
    if state["lockdown"] != "integrity" or not state["modules_closed"]:
        raise HostError(f"lockdown is {state['lockdown']}, modules closed: {state['modules_closed']}")
    return f"lockdown {state['lockdown']}, modules closed"


def ota(host: SigningHost) -> str:
    """Raises HostError when it is not to be published."""
    verdict = releasing.ota(host, host.inventory.parent / "release")
    if not verdict.publishable:
        raise HostError("\n".join(map(str, verdict.problems)))
    return f"publishable: {counted(len(verdict.packages), 'package')}"

"""The signing host: what holds the keys is an HSM, and what may use it is a session that leaves nothing behind."""

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from roles.base.deploy import FIREWALL, KERNEL
from roles.base.settings import SSH_PORT
from roles.common import Account, Unit, accounts, packages, services, tree
from roles.signing import kernel, program, software
from roles.signing.boot import boot, log_repository, pinned
from roles.signing.settings import Settings

SIGNER, LOGS = "signing", "signing-logs"
"""Who signs, and who reads logs and sends them; neither can log in, or become the other."""
LOG = "/srv/hsm-log"
"""The log of the HSMs, a git repository: written by who signs, read by who sends it."""
WORK = "/srv/signing"
"""What is to be signed, and what was; in `keys` the wrapped ones with their certificates."""
MODES = {
    f"{WORK}*": "0700",
    LOG: "2750",
    program.LOGS_KEY: "0600",
    "/etc/usbguard/*": "0600",
    "/etc/audit/*": "0640",
}
UNITS = (
    FIREWALL,
    KERNEL,
    Unit("apparmor.service", ("/etc/apparmor.d/mainstay.*",), reload=True, conditional=True),
    # Its rules are locked once they are loaded: others take a reboot.
    Unit("audit-rules.service", conditional=True),
    Unit("auditd.service", ("/etc/audit/auditd.conf",), conditional=True),
    Unit("usbguard.service", ("/etc/usbguard/usbguard-daemon.conf", "/etc/usbguard/rules.conf"), conditional=True),
    Unit("usbguard-dbus.service", enabled=False, running=False),
    Unit("yubihsm-connector.service", enabled=False, running=False),
    Unit("signing-tools.service", (program.FOLDER,)),
    # Last, and for ever: what else needs a module has it by now.
    Unit("signing-closed.service", ("/etc/modules-load.d/mainstay.conf",), conditional=True),
)


@deploy("signing")
def signing() -> None:
    """Puts the host into service, or finds that it is."""
    settings: Settings = host.data.settings["signing"]
    declared = program.declaration(host.data.site, settings)
    packages("packages", software.MINIMUM)
    pinned(name="pinned packages")
    packages("what handles keys", {name: pin.version for name, pin in software.PINNED.items()})
    accounts("accounts", [Account(SIGNER, system=True), Account(LOGS, groups=("adm", "systemd-journal"), system=True)])
    tree(
        "files",
        Path(__file__).parent / "tree",
        settings.model_dump()
        | {
            "ports": settings.ports,
            "declaration": program.DECLARATION,
            "rules": [destination.rule for destination in settings.destinations],
            "signer": SIGNER,
            "work": WORK,
            "ssh_port": SSH_PORT,
        },
        generated={
            "/etc/sysctl.d/95-signing.conf": kernel.sysctl(),
            "/etc/modprobe.d/mainstay.conf": kernel.modprobe(bool(settings.media)),
            "/etc/modules-load.d/mainstay.conf": "".join(f"{name}\n" for name in kernel.loaded(bool(settings.media))),
            "/etc/default/grub.d/mainstay.cfg": kernel.grub(),
        }
        | program.connectors(settings)
        | program.files()
        | program.logs(settings, host.data.site)
        | declared,
        directories=(WORK, f"{WORK}/keys", LOG),
        modes=MODES,
        owners={f"{WORK}*": f"{SIGNER}:{SIGNER}", LOG: f"{SIGNER}:{LOGS}"},
        secret=(program.LOGS_KEY,),
        absent=() if settings.logs else program.LOGS,
        validate={
            "/etc/nftables.d/*": "nft -c -f /etc/nftables.conf",
            "/etc/apparmor.d/mainstay.*": "for one in /etc/apparmor.d/mainstay.*; do apparmor_parser -QTK $one; done",
            "/etc/usbguard/rules.conf": "usbguard-rule-parser -f /etc/usbguard/rules.conf",
            "/etc/systemd/system/signing*": "systemd-analyze verify signing-closed.service signing-tools.service "
            "signing-connector@1.service signing-logs.service signing-logs.path signing-logs.timer",
        },
    )
    boot(name="next boot")
    log_repository(name="log of the HSMs", folder=LOG, owner=SIGNER)
    sent = settings.logs is not None
    sending = [Unit(f"signing-logs.{kind}", enabled=sent, running=sent) for kind in ("path", "timer")]
    services("services", [*UNITS, *sending])

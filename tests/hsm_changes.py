"""What is done to signing devices and to the files beside them, for `mainstay hsm` to find."""

from collections.abc import Callable

from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, OBJECT
from yubihsm.objects import AsymmetricKey, AuthenticationKey, Opaque

from tests.hsm_site import ADMIN, FACTORY, PASSWORDS, Site

EXPORTABLE = CAPABILITY.SIGN_ECDSA | CAPABILITY.EXPORTABLE_UNDER_WRAP


def put(one: Site, number: int = 0x0400, capabilities: int = EXPORTABLE, device: str = "primary") -> None:
    """An object that nobody declared."""
    with one.devices[device].session(ADMIN, PASSWORDS["admin"]) as opened:
        AsymmetricKey.generate(opened, number, "extra", 1 << 2, CAPABILITY(capabilities), ALGORITHM.EC_P256)


def again(one: Site, device: str, domains: int, capabilities: int) -> None:
    """The key 0x0101, made anew otherwise."""
    one.delete(device, OBJECT.ASYMMETRIC_KEY, 0x0101)
    with one.devices[device].session(ADMIN, PASSWORDS["admin"]) as opened:
        AsymmetricKey.generate(opened, 0x0101, "releasekey", domains, CAPABILITY(capabilities), ALGORITHM.EC_P256)


def delegated(one: Site) -> None:
    """The key for signing, which may now make others."""
    one.delete("primary", OBJECT.AUTHENTICATION_KEY, 0x0001)
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        more = CAPABILITY.SIGN_ECDSA
        AuthenticationKey.put_derived(opened, 1, "signing", 0b1100, CAPABILITY.SIGN_ECDSA, more, PASSWORDS["signing"])


def default(one: Site) -> None:
    one.delete("primary", OBJECT.AUTHENTICATION_KEY, 0x0001)
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        AuthenticationKey.put_derived(opened, 1, "signing", 0b1100, CAPABILITY.SIGN_ECDSA, CAPABILITY.NONE, "password")


def option(one: Site, force: AUDIT = AUDIT.ON, off: COMMAND | None = None) -> None:
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        opened.set_force_audit(force)
        if off:
            opened.set_command_audit({off: AUDIT.OFF})


def wrapped(name: str, content: str) -> Callable[[Site], object]:
    return lambda one: (one.keys / name).write_text(content)


def cut(one: Site) -> None:
    path = one.keys / "0x0101-asymmetric-key.yhw"
    path.write_text(path.read_text().strip()[:-8])


def other_certificate(one: Site) -> None:
    """On the device and in the folder: a certificate of the other key."""
    one.delete("primary", OBJECT.OPAQUE, 0x0101)
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        wrong = Opaque(opened, 0x0102).get()
        Opaque.put(opened, 0x0101, "releasekey", 1 << 2, CAPABILITY.NONE, ALGORITHM.OPAQUE_X509_CERTIFICATE, wrong)


def objects(one: Site, device: str = "primary") -> set[tuple[str, int]]:
    with one.devices[device].session(ADMIN, PASSWORDS["admin"]) as opened:
        return {(each.object_type.name, each.id) for each in opened.list_objects()}


def freed(one: Site) -> None:
    """Somebody reads the log and frees it without custody."""
    one.primary.sign()
    with one.primary.session(0x0002, PASSWORDS["audit"]) as opened:
        opened.set_log_index(opened.get_log_entries().entries[-1].number)


def broken(one: Site) -> None:
    one.primary.sign()
    log = one.primary.device._state.log
    log.entries[-1] = log.entries[-1][:-1] + bytes([log.entries[-1][-1] ^ 1])
    log.last = log.entries[-1]


def reset(one: Site) -> None:
    """It has the reader again, as after a restore."""
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        opened.reset_device()
    with one.primary.session(FACTORY, "password") as opened:
        bits = CAPABILITY.GET_LOG_ENTRIES, CAPABILITY.NONE
        AuthenticationKey.put_derived(opened, 0x0002, "audit", 0xFFFF, *bits, PASSWORDS["audit"])


def unlogged_boot(one: Site) -> None:
    one.primary.fault("full_log")
    one.primary.device.unplug()
    one.primary.device.plug()

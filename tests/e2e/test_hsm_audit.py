"""What `mainstay hsm audit` finds on two simulated devices, each time by bringing it about."""

from collections.abc import Callable

import pytest
from yubihsm.defs import AUDIT, CAPABILITY, COMMAND

from roles.signing.tools.state.auditing import WRONG
from roles.signing.tools.state.planning import DIFFERS
from tests.hsm_changes import (
    EXPORTABLE,
    again,
    cut,
    default,
    delegated,
    option,
    other_certificate,
    put,
    wrapped,
)
from tests.hsm_site import Site

FINDINGS: dict[str, tuple[Callable[[Site], object], str]] = {
    "an extra object": (put, "asymmetric-key 0x0400 extra: is not declared"),
    "an extra object on the backup": (lambda one: put(one, device="backup"), "backup: asymmetric-key 0x0400 extra"),
    "a capability": (lambda one: again(one, "primary", 4, EXPORTABLE | CAPABILITY.SIGN_PSS), "too many: sign-pss"),
    "a domain": (lambda one: again(one, "primary", 0b1100, EXPORTABLE), "domains too many: 4"),
    "a delegated capability": (delegated, "delegated capabilities too many: sign-ecdsa"),
    "the default password": (default, "opens with the password that devices leave the factory with"),
    "forced audit": (lambda one: option(one, AUDIT.OFF), "forced audit: off"),
    "command audit": (lambda one: option(one, off=COMMAND.SIGN_ECDSA), "off in place of on: sign-ecdsa"),
    "firmware": (lambda one: one.primary.fault("firmware", version="2.3.1"), "firmware 2.3.1, older than 2.4.0"),
    "a log nearly full": (lambda one: one.primary.fault("full_log"), "log: nearly full: 0 slots are free"),
    "a wrapped file of no key": (wrapped("0x0999-asymmetric-key.yhw", "AAAA"), "no declared key has this id"),
    "a wrapped file that is cut": (cut, "it is cut, or of another key"),
    "no base64": (wrapped("0x0101-asymmetric-key.yhw", "<html>"), "is not base64"),
    "a file of another name": (wrapped("0x0101.yhw", "AAAA"), "neither a wrapped key nor a certificate"),
    "no wrapped file": (lambda one: (one.keys / "0x0101-asymmetric-key.yhw").unlink(), "the device is all that has it"),
    "another key on the backup": (lambda one: again(one, "backup", 4, EXPORTABLE), "another key than on primary"),
    "a certificate of another key": (other_certificate, "its public key is not that of the key with its id"),
    "another certificate on the backup": (other_certificate, "another certificate than on primary"),
    "a certificate in the folder": (lambda one: one.certify(0x0101), "is another certificate than that on primary"),
    "an expired certificate": (lambda one: one.certify(0x0101, days=-2), "expired on"),
    "a certificate that ends soon": (lambda one: one.certify(0x0101, days=60), "in 59 days"),
}


@pytest.mark.parametrize("what", FINDINGS)
def test_an_audit_finds(hsm: Site, what: str) -> None:
    change, told = FINDINGS[what]
    change(hsm)
    found = hsm.mainstay("audit", "--json")
    assert found.code == WRONG, found
    texts = [f"{one['about']}: {one['told']}" for one in found.told["findings"]]
    assert [text for text in texts if told in text], texts


def test_an_audit_that_does_not_see_all_domains_says_so(hsm: Site) -> None:
    hsm.change('"sign-pkcs", "exportable', '"sign-pkcs", "get-option", "get-opaque", "exportable')
    assert hsm.mainstay("plan").code == DIFFERS

"""The runbook for a certificate that cannot be had, followed to the letter where the authority cannot be reached."""

import pytest

from tests.runbooks.reader import follow
from tests.saved_site import HOST, PLAN, Saved

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

NAME = "release.lab.example.org"
PROGRAM = "/usr/local/lib/mainstay/certificate.py"
OF = {"host": HOST, "role": PLAN, "dns": NAME, "program": PROGRAM}
CUT = "nft 'add table inet cut; add chain inet cut out { type filter hook output priority -10; }; \
add rule inet cut out tcp dport 14000 counter reject'"


def test_a_certificate_that_was_not_got_is_got(saved: Saved) -> None:
    saved.root(HOST, f"rm /var/lib/mainstay/tls/site.pem; python3 -I {PROGRAM} placeholder; {CUT}")
    try:
        assert saved.ssh(HOST, "systemctl start mainstay-certificate.service").returncode
        said = follow(saved, "certificate-will-not-renew", "What is wrong", **OF)
        assert "it was issued by itself" in said
        assert "gave no certificate" in said
        assert f"DNS:{NAME}" in said
    finally:
        saved.root(HOST, "nft delete table inet cut")
    said = follow(saved, "certificate-will-not-renew", "Mend it", "Get one now", "Another authority", **OF)
    assert "\n404\n" in said
    assert "is due" not in said
    assert saved.root(HOST, f"python3 -I {PROGRAM} due") == ""
    saved.root(HOST, "systemctl is-active nginx.service")

"""What a host is judged by before and after an upgrade, and when it is rebooted."""

import json

import pytest

from roles.base.upgrading import ill, needs_reboot

LISTENS = [
    "udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*",
    "tcp LISTEN 0 511 0.0.0.0:443 0.0.0.0:*",
    "tcp LISTEN 0 128 [::]:22 [::]:*",
]


def test_a_host_is_well_when_no_unit_failed_and_all_that_its_roles_declare_listens() -> None:
    wanted = {("udp", 53), ("tcp", 443), ("tcp", 22)}
    assert ill(["", *LISTENS], wanted) == []
    assert ill(["", *LISTENS], wanted | {("tcp", 53)}) == ["nothing listens on 53/tcp"]
    failed = "nginx.service loaded failed failed A web server"
    assert ill([failed, "", *LISTENS[:1]], wanted) == [
        "unit failed: nginx.service",
        "nothing listens on 22/tcp",
        "nothing listens on 443/tcp",
    ]


@pytest.mark.parametrize(
    ("required", "services", "why"),
    [
        (False, [], []),
        (True, [], ["an upgrade asks for it"]),
        (False, ["init.scope", "ssh.service"], ["init.scope runs replaced code", "ssh.service runs replaced code"]),
        (False, ["user@1000.service", "session-4.scope"], []),
    ],
)
def test_a_host_is_rebooted_for_an_upgrade_and_for_services_that_run_old_code(
    required: bool, services: list[str], why: list[str]
) -> None:
    report = {"checked_at": 1, "reboot_required": required, "services": {one: ["/usr/lib/x"] for one in services}}
    assert needs_reboot(json.dumps(report)) == why

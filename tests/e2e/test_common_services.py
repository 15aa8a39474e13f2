"""Services on a real host run with what is on disk."""

import pytest

from tests.e2e.primitives import ASK, NGINX, Bench

pytestmark = pytest.mark.lab


def test_a_service_that_took_up_a_change_by_hand_is_given_the_old_file_again(served: Bench) -> None:
    """The file ends as it was when the service was last started by us, but the service runs the one in between."""
    served.host.root("sed -i s/one/hand/ /etc/nginx/conf.d/site.conf; systemctl reload nginx")
    served.good(NGINX)
    assert served.host.ssh(ASK) == "one\n"


def test_a_service_that_took_up_a_file_that_is_gone_again_is_rid_of_it(served: Bench) -> None:
    guest = "/etc/nginx/conf.d/guest.conf"
    served.host.root(f'echo "server {{ listen 8081; return 204; }}" >{guest}; systemctl reload nginx; rm {guest}')
    served.good(NGINX)
    assert served.host.ssh("ss -Htln sport = :8081") == ""


@pytest.mark.parametrize("verb", ["disable", "mask", "mask --runtime"])
def test_a_service_stopped_and_disabled_by_hand_runs_again(served: Bench, verb: str) -> None:
    served.host.root(f"systemctl {verb} --now nginx")
    assert served.good(NGINX).changed == ["run"]
    assert served.host.root("systemctl is-active nginx; systemctl is-enabled nginx").split() == ["active", "enabled"]


def test_a_changed_unit_file_is_loaded_and_its_unit_restarted(served: Bench) -> None:
    before = served.host.root("systemctl show -P InvocationID nginx")
    served.file("/etc/systemd/system/nginx.service.d/limits.conf", "[Service]\nLimitNOFILE=4321\n")
    served.good(NGINX)
    served.host.root("grep -q 4321 /proc/$(systemctl show -P MainPID nginx)/limits")
    assert served.host.root("systemctl show -P InvocationID nginx") != before
    assert served.good(NGINX).changed == []


def test_a_service_that_does_not_stay_up_is_an_error_with_its_own_words_and_is_tried_again(bench: Bench) -> None:
    unit = "[Service]\nExecStart=/bin/sh -c {}\n[Install]\nWantedBy=multi-user.target\n"
    deploy = 'tree("files", TREE)\nservices("run", [Unit("frail.service")])'
    bench.file("/etc/systemd/system/frail.service", unit.format('"echo no config here >&2; exit 3"'))
    for _ in range(2):
        failed = bench.run(deploy)
        assert failed.code == 1
        assert "frail.service: it does not stay up" in failed.output
        assert "no config here" in failed.output
    bench.file("/etc/systemd/system/frail.service", unit.format('"exec sleep inf"'))
    bench.good(deploy)
    assert bench.good(deploy).changed == []

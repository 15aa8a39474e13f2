"""Accounts on a real host, whatever their users did."""

import pytest

from tests.e2e.primitives import Bench

pytestmark = pytest.mark.lab


def test_accounts_are_made_changed_and_removed(bench: Bench) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPx7cB0W bob"
    first = (
        f'accounts("people", [Account("bob", groups=("adm", "crew"), full_name="Bob Example", ssh_keys=({key!r},))])'
    )
    bench.good(first)
    assert bench.good(first).changed == []
    assert bench.host.root("id -Gn bob").split() == ["bob", "adm", "crew"]
    assert bench.host.root("getent passwd bob").split(":")[4] == "Bob Example"
    assert bench.host.root("cat /home/bob/.ssh/authorized_keys") == f"{key}\n"
    assert bench.host.root("stat -c %a.%U /home/bob/.ssh /home/bob/.ssh/authorized_keys").split() == [
        "700.bob",
        "600.bob",
    ]
    bench.good('accounts("people", [Account("bob", shell="/bin/sh", ssh_keys=())])')
    assert bench.host.root("id -Gn bob; getent passwd bob | cut -d: -f7").split() == ["bob", "/bin/sh"]
    assert bench.host.root("ls /home/bob/.ssh") == ""
    bench.good('accounts("people", [], absent=["bob"])')
    assert bench.host.root("getent passwd bob", check=False) == ""
    refused = bench.run('accounts("people", [], absent=["lab"])')
    assert "lab: not removed, because you are logged in as it" in refused.output


@pytest.mark.parametrize(
    "by_hand",
    [
        pytest.param("rm -rf /home/eve", marks=pytest.mark.full),
        "rm -rf /home/eve/.ssh; ln -s /root/trap /home/eve/.ssh",
        pytest.param("rm -rf /home/eve/.ssh; touch /home/eve/.ssh; chmod 500 /home/eve", marks=pytest.mark.full),
        "rm /home/eve/.ssh/authorized_keys; mkdir -p /home/eve/.ssh/authorized_keys/x; chown -R eve: /home/eve",
    ],
)
def test_keys_of_accounts_are_written_whatever_became_of_the_home_and_never_through_a_symlink(
    bench: Bench, by_hand: str
) -> None:
    deploy = 'accounts("people", [Account("eve", ssh_keys=("ssh-ed25519 AAAAC3NzEVE eve",))])'
    bench.good(deploy)
    bench.host.root(f"rm -rf /root/trap; mkdir -m 700 /root/trap; {by_hand}")
    bench.good(deploy)
    assert bench.host.root("ls -A /root/trap") == ""
    look = "stat -c %F.%U.%G.%a /home/eve/.ssh; cat /home/eve/.ssh/authorized_keys"
    assert bench.host.root(look) == "directory.eve.eve.700\nssh-ed25519 AAAAC3NzEVE eve\n"
    assert bench.good(deploy).changed == []
    bench.good('accounts("people", [Account("eve", ssh_keys=())])')
    assert bench.host.root("ls -A /home/eve/.ssh") == ""
    bench.host.root("userdel -rf eve 2>&1", check=False)

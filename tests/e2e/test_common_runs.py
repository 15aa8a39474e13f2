"""Whole runs on a real host: again, cut off, dry, and refused before anything is touched."""

import re

import pytest

from tests.e2e.primitives import ASK, NGINX, Bench

pytestmark = pytest.mark.lab


def test_the_second_run_changes_nothing_with_one_remote_command_for_each_primitive(served: Bench) -> None:
    again = served.good(NGINX)
    assert (again.changed, again.commands) == ([], 4)


@pytest.mark.parametrize("at", [pytest.param(3, marks=pytest.mark.full), 5, 7])
def test_a_run_killed_at_any_point_is_made_good_by_the_next(served: Bench, at: int) -> None:
    """Of 7 commands the 3rd writes keys, the 5th files, the 7th reloads; each is cut off while it is being sent."""
    word = f"killed at {at}"
    deploy = NGINX.replace('"one"', repr(word)).replace(
        'ssh_keys=("ssh-ed25519 AAAAC3Nz', f'ssh_keys=("ssh-ed25519 AAAA{at}'
    )
    killed = served.run(deploy, kill_at=at)
    assert killed.code == -9, killed.output
    served.good(deploy)
    assert served.host.ssh(ASK) == f"{word}\n"
    assert served.good(deploy).changed == []


def test_a_run_killed_between_files_and_restart_is_made_good_by_the_next(served: Bench) -> None:
    deploy = NGINX.replace('"one"', '"two"')
    sent_before = 3 + 1 + 1  # three looks, the tree's program, the services' look: nothing has been restarted
    assert served.run(deploy, kill_at=sent_before).code == -9
    assert "two" in served.host.root("cat /etc/nginx/conf.d/site.conf")
    assert served.host.ssh(ASK) == "one\n"
    again = served.good(deploy)
    assert again.changed == ["run"]
    assert served.host.ssh(ASK) == "two\n"


def test_a_dry_run_tells_what_would_change_and_changes_nothing(served: Bench) -> None:
    served.host.root("rm -f /etc/later.conf; echo by hand >> /etc/nginx/conf.d/site.conf")
    served.file("/etc/later.conf", "new\n")
    state = "find /etc /var/lib/mainstay /home /run/mainstay -printf %p.%s.%C@ | sha256sum"
    before = served.host.root(state)
    dry = served.good(NGINX, "--dry")
    assert "/etc/later.conf: new file" in dry.output
    assert "/etc/nginx/conf.d/site.conf: content" in dry.output
    assert "nginx.service: reload, because its files changed" in dry.output
    assert "-by hand" not in dry.output
    for option in ("-v", "--diff"):
        assert "-by hand" in served.good(NGINX, "--dry", option).output
    assert served.host.root(state) == before
    served.good(NGINX)
    assert "Change" not in re.sub("Changes?:?", "", served.good(NGINX, "--dry").output.partition("Detected")[0])


def test_a_dry_run_tells_what_follows_from_what_it_would_change(served: Bench) -> None:
    served.file("/etc/systemd/system/nginx.service.d/later.conf", "[Service]\nLimitNOFILE=4322\n")
    assert "nginx.service: restart, because its unit file changed" in served.good(NGINX, "--dry").output
    (served.folder / "tree/etc/systemd/system/nginx.service.d/later.conf").unlink()
    dry = served.good(NGINX.replace('"one"', '"two"'), "--dry")
    assert "nginx.service: reload, because its files changed" in dry.output
    assert served.host.ssh(ASK) == "one\n"


def test_a_missing_variable_stops_the_run_before_any_host_is_touched(served: Bench) -> None:
    served.file("/etc/second.conf.j2", "{{ word }}\n{{ colour }}\n")
    stopped = served.run('packages("x", {"no-such-package": None})\n' + NGINX)
    assert stopped.code == 1
    assert f"{served.folder}/tree/etc/second.conf.j2: line 2: 'colour' is undefined" in stopped.output
    assert (stopped.commands, "Traceback" in stopped.output) == (0, False)

"""The runbooks of whoever deploys, followed to the letter on two web servers."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cloud.converge import converge
from roles.common.program import program
from tests.labs import disconnect
from tests.runbooks.reader import follow
from tests.website import SERVERS, Website, website_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
HOST = "web-1"
# A package of one version, in a repository on the host itself; the first one is installed.
OWN = """
mkdir -p /var/tmp/own/DEBIAN /var/tmp/repository
cd /var/tmp/own/DEBIAN
printf 'Package: own\\nVersion: {version}\\nArchitecture: all\\nMaintainer: a <a@example.org>\\n' > control
printf 'Description: own\\n' >> control
printf '#!/bin/sh\\n{install}\\n' > postinst
chmod 755 postinst
cd /var/tmp/repository
dpkg-deb -b /var/tmp/own own.deb
{{ dpkg-deb -f own.deb; echo Filename: ./own.deb; echo "Size: $(stat -c %s own.deb)"
   echo "SHA256: $(sha256sum own.deb | cut -d ' ' -f 1)"; }} > Packages
echo 'deb [trusted=yes] file:/var/tmp/repository ./' > /etc/apt/sources.list.d/own.list
[ {version} != 1 ] || dpkg -i own.deb
"""
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    yield from website_site(tmp_path_factory.mktemp("website"))


@contextmanager
def held(website: Website) -> Iterator["subprocess.Popen[str]"]:
    """A deploy that has begun on a host and does not go on."""
    of = {"id": "x", "deploy": "base", "machine": "gone", "git_user": "Mallory", "commit": "0123456789", "dirty": True}
    asked = program("deploying", of)
    words = ["ssh", "-F", str(website.ssh_config), HOST, f"sudo {asked.get_raw_value()}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin
        assert running.stdout
        running.stdin.write(f"{asked.connector_arguments['_stdin']}\n" + json.dumps({"event": "started"}) + "\n")
        running.stdin.flush()
        assert json.loads(running.stdout.readline()) == {"held": True}
        yield running


def test_a_deploy_that_is_locked(website: Website) -> None:
    with held(website) as running:
        refused = converge(website.inventory, "base")
        assert not refused.ok
        assert "base, of 0123456789 and what was not committed, by lab (Mallory) from" in refused.output
        names: dict[str, Any] = {"host": HOST, "pid": refused.output.partition("sudo kill ")[2].split()[0]}
        assert "running" in follow(website, "deploy-is-locked", "Who has it", **names)
        assert "broken" in follow(website, "deploy-is-locked", "Break it", **names)
        running.wait(timeout=30)
    said = follow(website, "deploy-is-locked", "Deploy", **names)
    assert "finished" in said


def offered(website: Website, version: int, install: str = "true") -> None:
    """What all hosts can be upgraded to."""
    for host in SERVERS:
        website.root(host, OWN.format(version=version, install=install))


def versions(website: Website) -> dict[str, str]:
    return {host: website.root(host, "dpkg-query -W -f '${Version}' own") for host in SERVERS}


def test_upgrade_packages_and_reboot_where_one_is_needed(website: Website) -> None:
    offered(website, 1)
    offered(website, 2)
    website.root(HOST, "touch /run/reboot-required")
    boots = {host: website.root(host, BOOT_ID) for host in SERVERS}
    names = {"host": HOST}
    look = follow(website, "upgrade-packages", "Look first", **names)
    assert "own [1] (2" in look
    assert "needs a reboot: an upgrade asks for it" in look
    assert "finished" in follow(website, "upgrade-packages", "The canary", **names)
    assert versions(website) == {"web-1": "2", "web-2": "1"}
    disconnect(website.ssh_config)
    booted = website.root(HOST, BOOT_ID)
    assert booted != boots[HOST]
    follow(website, "upgrade-packages", "All others", **names)
    assert versions(website) == {"web-1": "2", "web-2": "2"}
    assert website.root(HOST, BOOT_ID) == booted
    website.must_agree()


def test_all_hosts_at_once_are_not_upgraded(website: Website) -> None:
    refused = converge(website.inventory, "upgrade")
    assert not refused.ok
    assert "--serial: is missing: all hosts would be upgraded, and be down, at once" in refused.output


@pytest.mark.full
def test_the_first_host_that_is_not_well_ends_an_upgrade(website: Website) -> None:
    """Whichever is the first: pyinfra's order is its own."""
    offered(website, 3, "systemd-run --unit=ill-by-test false; true")
    done = converge(website.inventory, "upgrade", "--serial")
    assert not done.ok
    assert "unit failed: ill-by-test.service" in done.output
    found = versions(website)
    assert sorted(found.values()) == ["2", "3"]
    first = max(found, key=lambda host: int(found[host]))
    again = converge(website.inventory, "upgrade", "--limit", first)
    assert not again.ok
    assert not any("upgrade" in one for one in again.changed)
    website.root(first, "systemctl reset-failed")
    whole = converge(website.inventory, "upgrade", "--limit", first)
    assert whole.ok, whole.output
    assert whole.changed == ()

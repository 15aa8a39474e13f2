"""Packages on a real host."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.primitives import Bench
from tests.waiting import until

pytestmark = pytest.mark.lab


def test_a_package_is_not_started_before_its_configuration_is_there(bench: Bench) -> None:
    bench.host.root("apt-get -qq purge -y nginx-light nginx-common nginx 2>&1")
    assert bench.good('packages("install", {"nginx-light": None})').changed == ["install"]
    assert bench.host.root("systemctl is-active nginx", check=False).strip() == "inactive"
    assert bench.host.root("ls /usr/sbin/policy-rc.d /run/mainstay/installing 2>/dev/null", check=False) == ""
    bench.host.root("systemctl start nginx && systemctl is-active nginx")


HOLD_LOCKS = """
import fcntl, os, time
locks = [open(path, "w") for path in ("/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock")]
for lock in locks:
    fcntl.lockf(lock, fcntl.LOCK_EX)
open("/run/held", "w").close()
while os.path.exists("/run/held"):
    time.sleep(0.1)
"""


def test_a_package_manager_at_work_is_waited_for(bench: Bench) -> None:
    bench.host.root("apt-get -qq purge -y nginx-light 2>&1; rm -f /run/mainstay/package-lists /run/held")
    bench.host.ssh(f"cat > /tmp/hold.py <<'END'\n{HOLD_LOCKS}END\nsudo systemd-run -q python3 /tmp/hold.py")
    until("the locks are held", lambda: bench.host.root("ls /run/held 2>/dev/null", check=False))
    with ThreadPoolExecutor() as elsewhere:
        run = elsewhere.submit(bench.good, 'packages("install", {"nginx-light": None})')
        until("it waits for a lock", lambda: bench.host.root('grep -e "-> POSIX" /proc/locks', check=False))
        assert not run.done()
        bench.host.root("rm /run/held")
        run.result()
    assert "nginx-light" in bench.host.root("dpkg-query -W nginx-light")


def test_a_package_the_archive_does_not_have_new_enough_is_an_error_that_says_so(bench: Bench) -> None:
    failed = bench.run('packages("install", {"nginx-light": "99"})')
    assert failed.code == 1
    assert re.search(r"nginx-light: the archive has [\d.]+\S*, wanted at least 99", failed.output)
    missing = bench.run('packages("install", {"no-such-package": None})')
    assert missing.code == 1
    assert "Unable to locate package no-such-package" in missing.output


def test_a_minimum_asks_the_archive_for_its_lists_only_when_they_are_old(bench: Bench) -> None:
    lists = "/run/mainstay/package-lists"
    bench.host.root(f"apt-get -qq purge -y nginx-light 2>&1; touch --date=-10min {lists}")
    before = bench.host.root(f"stat -c %Y {lists}")
    bench.good('packages("install", {"nginx-light": "1"})')
    assert bench.host.root(f"stat -c %Y {lists}") == before
    bench.host.root(f"apt-get -qq purge -y nginx-light 2>&1; touch --date=-2hour {lists}")
    bench.good('packages("install", {"nginx-light": "1"})')
    assert bench.host.root(f"stat -c %Y {lists}") > before

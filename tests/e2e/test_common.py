"""The primitives on a real host, as an admin who is not root: what they promise, seen from outside."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.converge import REPOSITORY
from lab.engine import LabConfig
from tests import bare_host
from tests.bare_host import BareHost
from tests.waiting import until

pytestmark = pytest.mark.lab

HEADER = """
from pathlib import Path
from pydantic import SecretStr
from roles.common import Account, Unit, accounts, packages, services, tree
TREE = Path({tree!r})
"""


@dataclass(frozen=True)
class Run:
    code: int
    commands: int
    """Remote commands sent."""
    output: str

    @property
    def changed(self) -> list[str]:
        """Operations that changed something, by pyinfra's own table of results."""
        rows = re.findall(r"^    (\S+) +1 +(\S+) +(\S+) +(\S+) *$", self.output, re.MULTILINE)
        return [name for name, success, _, _ in rows if success != "-"]


@dataclass(frozen=True)
class Bench:
    """A host, an inventory of it, and a tree and deploy to be filled."""

    host: BareHost
    folder: Path

    def file(self, path: str, text: str) -> None:
        target = self.folder / f"tree{path}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def run(self, deploy: str, *options: str, kill_at: int = 0) -> Run:
        """pyinfra, as in production; kill_at: it dies (-9) right after that remote command was sent."""
        (self.folder / "tree").mkdir(exist_ok=True)
        (self.folder / "deploy.py").write_text(HEADER.format(tree=str(self.folder / "tree")) + deploy)
        inventory = bare_host.inventory([self.host], self.folder)
        words = [str(inventory), str(self.folder / "deploy.py"), *(options or ("-y",))]
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.killed", str(kill_at), *words],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        last = done.stdout.strip().rpartition("\n")[2]
        return Run(done.returncode, int(last) if last.isdigit() else -1, done.stdout + done.stderr)

    def good(self, deploy: str, *options: str) -> Run:
        run = self.run(deploy, *options)
        assert run.code == 0, run.output
        return run


@pytest.fixture(scope="module")
def host(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHost]:
    (host,) = bare_host.create(lab, ["common"], tmp_path_factory.mktemp("common"))
    bare = 'packages("install", {"nginx-light": None})'
    Bench(host, tmp_path_factory.mktemp("install")).good(bare)
    yield host
    host.destroy()


@pytest.fixture
def bench(host: BareHost, tmp_path: Path) -> Bench:
    return Bench(host, tmp_path)


NGINX = """
packages("install", {"nginx-light": "1.20", "sudo": None})
accounts("people", [Account("alice", groups=("adm",), ssh_keys=("ssh-ed25519 AAAAC3Nz alice",))], absent=["mallory"])
tree("files", TREE, {"word": "one"}, absent=["/etc/nginx/sites-enabled/default"],
     validate={"/etc/nginx/*": "nginx -t"})
services("run", [Unit("nginx.service", files=("/etc/nginx",), reload=True)])
"""
SITE = 'server { listen 8080; return 200 "{{ word }}\\n"; }\n'
ASK = "curl -s http://127.0.0.1:8080/"


@pytest.fixture
def served(bench: Bench) -> Bench:
    bench.file("/etc/nginx/conf.d/site.conf.j2", SITE)
    bench.good(NGINX)
    assert bench.host.ssh(ASK) == "one\n"
    return bench


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


@pytest.mark.parametrize(
    ("path", "text", "validator", "says"),
    [
        ("/etc/nginx/conf.d/broken.conf", "server { nonsense on; }\n", "nginx -t", 'unknown directive "nonsense"'),
        (
            "/etc/ssh/sshd_config.d/broken.conf",
            "NoSuchOption yes\n",
            "sshd -t",
            "Bad configuration option: NoSuchOption",
        ),
        ("/etc/nftables.conf", "table inet x { chain\n", "nft -c -f /etc/nftables.conf", "syntax error"),
        pytest.param(
            "/etc/sudoers.d/broken", "alice ALL=(ALL NOPASSWD\n", "visudo -c", "syntax error", marks=pytest.mark.full
        ),
        pytest.param(
            "/etc/systemd/system/broken.service",
            "[Service]\nExecStart=/no/such/program\n",
            "systemd-analyze verify /etc/systemd/system/broken.service",
            "/no/such/program",
            marks=pytest.mark.full,
        ),
    ],
)
def test_a_broken_configuration_replaces_nothing_and_says_why(
    served: Bench, path: str, text: str, validator: str, says: str
) -> None:
    before = served.host.root(f"sha256sum {path} 2>/dev/null", check=False)
    served.file(path, text)
    served.file("/etc/innocent.conf", "would be new\n")
    deploy = NGINX.replace("validate={", f"validate={{{path!r}: {validator!r}, ")
    broken = served.run(deploy)
    assert broken.code == 1
    assert f"nothing was changed, because `{validator}` fails" in broken.output
    assert says in broken.output
    assert served.host.root(f"sha256sum {path} 2>/dev/null", check=False) == before
    assert served.host.root("ls /etc/innocent.conf /etc/.innocent.conf.mainstay-new 2>/dev/null", check=False) == ""
    assert served.host.root("mount | grep -c /run/mainstay", check=False).strip() == "0"
    assert served.host.ssh(ASK) == "one\n"


@pytest.mark.parametrize(
    "by_hand",
    [
        "echo >> /etc/nginx/conf.d/site.conf",
        "chmod 600 /etc/nginx/conf.d/site.conf; chown www-data /etc/nginx/conf.d/site.conf",
        "rm /etc/nginx/conf.d/site.conf",
    ],
)
def test_a_file_changed_by_hand_is_put_back(served: Bench, by_hand: str) -> None:
    look = "stat -c %a.%U.%G /etc/nginx/conf.d/site.conf; cat /etc/nginx/conf.d/site.conf"
    before = served.host.root(look)
    served.host.root(by_hand)
    assert "files" in served.good(NGINX).changed
    assert served.host.root(look) == before


def test_a_service_that_took_up_a_change_by_hand_is_given_the_old_file_again(served: Bench) -> None:
    """The file ends as it was when the service was last started by us, but the service runs the one in between."""
    served.host.root("sed -i s/one/hand/ /etc/nginx/conf.d/site.conf; systemctl reload nginx")
    served.good(NGINX)
    assert served.host.ssh(ASK) == "one\n"


def test_a_service_stopped_or_disabled_by_hand_runs_again(served: Bench) -> None:
    served.host.root("systemctl disable --now nginx")
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


def test_a_package_is_not_started_before_its_configuration_is_there(bench: Bench) -> None:
    bench.host.root("apt-get -qq purge -y nginx-light nginx-common nginx 2>&1")
    assert bench.good('packages("install", {"nginx-light": None})').changed == ["install"]
    assert bench.host.root("systemctl is-active nginx", check=False).strip() == "inactive"
    assert bench.host.root("ls /usr/sbin/policy-rc.d /run/mainstay/installing 2>/dev/null", check=False) == ""
    bench.host.root("systemctl start nginx && systemctl is-active nginx")


HOLD_LOCKS = """
import fcntl, time
locks = [open(path, "w") for path in ("/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock")]
for lock in locks:
    fcntl.lockf(lock, fcntl.LOCK_EX)
open("/run/held", "w").close()
time.sleep(8)
"""


def test_a_package_manager_at_work_is_waited_for(bench: Bench) -> None:
    bench.host.root("apt-get -qq purge -y nginx-light 2>&1; rm -f /run/mainstay/package-lists /run/held")
    bench.host.ssh(f"cat > /tmp/hold.py <<'END'\n{HOLD_LOCKS}END\nsudo systemd-run -q python3 /tmp/hold.py")
    until("the locks are held", lambda: bench.host.root("ls /run/held 2>/dev/null", check=False))
    bench.good('packages("install", {"nginx-light": None})')
    assert "nginx-light" in bench.host.root("dpkg-query -W nginx-light")


def test_a_package_the_archive_does_not_have_new_enough_is_an_error_that_says_so(bench: Bench) -> None:
    failed = bench.run('packages("install", {"nginx-light": "99"})')
    assert failed.code == 1
    assert re.search(r"nginx-light: the archive has [\d.]+\S*, wanted at least 99", failed.output)
    missing = bench.run('packages("install", {"no-such-package": None})')
    assert missing.code == 1
    assert "Unable to locate package no-such-package" in missing.output


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


def test_a_missing_variable_stops_the_run_before_any_host_is_touched(served: Bench) -> None:
    served.file("/etc/second.conf.j2", "{{ word }}\n{{ colour }}\n")
    stopped = served.run('packages("x", {"no-such-package": None})\n' + NGINX)
    assert stopped.code == 1
    assert f"{served.folder}/tree/etc/second.conf.j2: line 2: 'colour' is undefined" in stopped.output
    assert (stopped.commands, "Traceback" in stopped.output) == (0, False)


@pytest.mark.parametrize(
    ("by_hand", "says"),
    [
        ("ln -s /etc/passwd /etc/managed.conf", "/etc/managed.conf: a symlink stands where a file goes"),
        ("mkdir /etc/managed.conf", "/etc/managed.conf: a directory stands where a file goes"),
    ],
)
def test_what_stands_in_the_way_is_named_and_left_alone(bench: Bench, by_hand: str, says: str) -> None:
    bench.host.root(f"rm -rf /etc/managed.conf; {by_hand}")
    bench.file("/etc/managed.conf", "text\n")
    before = bench.host.root("ls -ld --time-style=full-iso /etc/managed.conf /etc/passwd")
    for options in (("-y",), ("--dry",)):
        run = bench.run('tree("files", TREE)', *options)
        assert says in run.output
        assert run.code == (1 if options == ("-y",) else 0)
    assert bench.host.root("ls -ld --time-style=full-iso /etc/managed.conf /etc/passwd") == before
    bench.host.root("rm -rf /etc/managed.conf")


def test_a_big_tree_is_sent_in_one_command(bench: Bench) -> None:
    for number in range(600):
        bench.file(f"/opt/big/{number % 20}/file {number}", f"{number}\n" * 2000)
    bench.host.root("rm -rf /opt/big")
    assert bench.good('tree("files", TREE)').commands == 2
    assert bench.host.root("find /opt/big -type f | wc -l").strip() == "600"
    again = bench.good('tree("files", TREE)')
    assert (again.commands, again.changed) == (1, [])


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
        "rm -rf /home/eve",
        "rm -rf /home/eve/.ssh; ln -s /root/trap /home/eve/.ssh",
        "rm -rf /home/eve/.ssh; touch /home/eve/.ssh; chmod 500 /home/eve",
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


@contextmanager
def watched_processes(secret: bytes) -> Iterator[list[str]]:
    """Every process of this machine, which are those of the host too, while something runs: who shows the secret."""
    shown: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                for part in ("cmdline", "environ"):
                    try:
                        if secret in (content := (process / part).read_bytes()):
                            shown.append(f"{process}/{part}: {content[:200]!r}")
                    except OSError:
                        continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield shown
    finally:
        done.set()
        thread.join()


def test_a_secret_is_seen_nowhere_but_in_its_file(bench: Bench) -> None:
    bench.file("/etc/app/token.j2", "token = {{ token }}\n")
    bench.file("/etc/app/named.j2", "token = {{ token.get_secret_value() }}\n")
    deploy = (
        'tree("files", TREE, {"token": SecretStr(Path("%s").read_text())}, secret=["/etc/app/named"],'
        ' modes={"/etc/app/*": "0600"}, validate={"*": "cat /etc/app/token; %s"})'
    )
    store = bench.folder / "store"
    bench.host.root("rm -rf /etc/app")
    outputs = []
    for secret, check, options, code in (
        ("correct-horse-1", "true", ("-y", "-vvv", "--diff", "--debug"), 0),
        ("correct-horse-2", "true", ("--dry", "-vvv", "--diff"), 0),
        ("correct-horse-2", "false", ("-y", "-vvv"), 1),
        ("correct-horse-3", "true", ("-y", "--json"), 0),
    ):
        store.write_text(secret)
        with watched_processes(b"correct-horse") as shown:
            run = bench.run(deploy % (store, check), *options)
        assert (run.code, shown) == (code, []), run.output
        outputs.append(run.output)
    assert bench.host.root("cat /etc/app/token /etc/app/named") == "token = correct-horse-3\n" * 2
    assert "/etc/app/token: new file" in outputs[0]
    assert not any("correct-horse" in output for output in outputs)
    assert bench.host.root("journalctl -q --no-pager | grep -c correct[-]horse", check=False).strip() == "0"
    assert bench.host.root("grep -rl correct[-]horse /tmp /run /var 2>/dev/null", check=False) == ""

"""Files on a real host: validated before they replace anything, put back, never put in another's place."""

import pytest

from tests.e2e.primitives import ASK, NGINX, Bench

pytestmark = pytest.mark.lab


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

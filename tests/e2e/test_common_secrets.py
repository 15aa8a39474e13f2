"""A secret on its way to a real host."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.primitives import Bench

pytestmark = pytest.mark.lab


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

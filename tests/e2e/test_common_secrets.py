"""A secret on its way to a real host."""

import pytest

from tests.e2e.primitives import Bench
from tests.shown import shown

pytestmark = pytest.mark.lab


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
        with shown() as seen:
            run = bench.run(deploy % (store, check), *options)
        told = [place for place, content in seen if b"correct-horse" in content]
        assert (run.code, told) == (code, []), run.output
        outputs.append(run.output)
    assert bench.host.root("cat /etc/app/token /etc/app/named") == "token = correct-horse-3\n" * 2
    assert "/etc/app/token: new file" in outputs[0]
    assert not any("correct-horse" in output for output in outputs)
    assert bench.host.root("journalctl -q --no-pager | grep -c correct[-]horse", check=False).strip() == "0"
    assert bench.host.root("grep -rl correct[-]horse /tmp /run /var 2>/dev/null", check=False) == ""

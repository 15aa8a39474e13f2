"""The nspawn engine's firewall rules, judged by nft itself in a network namespace of the test's own."""

import subprocess
from ipaddress import ip_network
from pathlib import Path

from lab import firewall
from lab.engine import LabConfig, Rule

CONFIG = LabConfig("unit", 1, Path("/nowhere"))
ANY4, ANY6 = ip_network("0.0.0.0/0"), ip_network("::/0")
MAC = "56:00:01:00:00:10"


def test_nft_takes_the_tables() -> None:
    addresses = {"10.65.0.16": (Rule("tcp", ANY4, 1, 2), Rule("gre", ANY4)), "fd6d:7300:1::10": (Rule("ah", ANY6),)}
    ports = {"ms1-aaaaaaaa-0": (MAC, ["10.65.0.16", "fd6d:7300:1::10"])}
    for rules in (firewall.firewall(CONFIG, addresses), firewall.guard(CONFIG, ports), firewall.guard(CONFIG, {})):
        words = ["unshare", "--user", "--map-root-user", "--net", "nft", "-f", "-"]
        done = subprocess.run(words, input=rules, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

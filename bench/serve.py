"""What serving costs: `python -m bench.serve [--json]`, as root, with nghttp2-client. Exits 1 when an aim is missed.

In a lab of its own, a release server as it is deployed, and beside it on the same host the same nginx with as little
configuration as it needs (bench/minimal.conf), with the same files, certificate and ciphers. Both are asked in turns,
from within the host: packages by 16 clients, with TLS and without, metadata by 32 and, while packages are fetched, by
4; then readers who take nothing. The release server writes its log meanwhile; the other keeps none.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.contest import BenchError, Times, command, one_round, summed
from cloud.converge import converge
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import configured
from lab import lifecycle, load
from lab.network import netns
from lab.sites import derive, only
from tests.crowd import FILES, NAME, among, crowd, many_files

LAB, HOST = "bench-serve", "release-1"
RATIO = 0.97
"""Of the minimal configuration's rate of bulk data."""
OURS, MINIMAL = "release server", "minimal"
PORTS = {OURS: (443, 8080), MINIMAL: (9443, 9080)}
"""With TLS and without; the release server has the second one for this alone."""
PACKAGE, METADATA = "/ota/panther/16/panther-ota_update-1.zip", "/ota/panther/panther-stable"
BULK, LINES = 16, 32
READER = "193.0.6.139"
PREPARE = f"""
sed -i '1i listen 8080;' /etc/nginx/server.inc
grep ^ssl_ /etc/nginx/tls.conf > /etc/nginx/bench-tls.conf
cat > /etc/nginx/bench-minimal.conf <<'END'
{Path(__file__).with_name("minimal.conf").read_text()}END
systemctl reload nginx.service
systemd-run --quiet --unit=bench-minimal -p User=www-data -p RuntimeDirectory=bench-minimal -p LimitNOFILE={FILES} \
    -p AmbientCapabilities=CAP_NET_BIND_SERVICE nginx -c /etc/nginx/bench-minimal.conf -g 'daemon off;'
"""
MEMORY = """
for pid in $(systemctl show -p MainPID --value UNIT) $(pgrep -P $(systemctl show -p MainPID --value UNIT)); do
    grep ^Pss: /proc/$pid/smaps_rollup
done
ss -Htmn 'sport = :PORT' | grep -oE '[(]r[0-9]+|,w[0-9]+' | tr -dc '0-9\\n' | awk '{ n += $1 } END { print n + 0 }'
"""
UNITS = {OURS: "nginx.service", MINIMAL: "bench-minimal.service"}
console = Console(stderr=True)


class Server:
    """A lab's release server, and clients within it."""

    def __init__(self, site: LoadedSite, config: Path) -> None:
        lab = lifecycle.find(LAB)
        assert lab
        self.site, self._ssh = site, ["ssh", "-F", str(config), HOST, "sudo", "sh", "-es"]
        self.within = ["ip", "netns", "exec", netns(lab, site.lock.hosts[HOST].instance_id)]

    def root(self, script: str, *words: str) -> str:
        done = subprocess.run([*self._ssh, *words], input=script, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{script}: {done.stderr}")
        return done.stdout

    def load(self, who: str, path: str, clients: int, requests: int, *, tls: bool = True) -> list[str]:
        """The words that ask for something so often."""
        port = PORTS[who][0 if tls else 1]
        counts = ["-c", str(clients), "-n", str(requests), "-t", "1", "--h1", f"--connect-to=127.0.0.1:{port}"]
        return [*self.within, "h2load", *counts, f"{'https' if tls else 'http'}://{NAME}{path}"]

    def ask(self, who: str, path: str, clients: int, requests: int, *, tls: bool = True) -> None:
        """Raises BenchError unless each request was answered by 2xx."""
        said = command(self.load(who, path, clients, requests, tls=tls))
        if f"status codes: {requests} 2xx" not in said:
            raise BenchError(said[-1500:])

    def delays(self, who: str, requests: int, log: Path) -> list[float]:
        """Of requests for metadata while packages are fetched, in seconds, ascending."""
        log.unlink(missing_ok=True)
        with subprocess.Popen(self.load(who, PACKAGE, BULK, 1 << 20), stdout=subprocess.DEVNULL) as bulk:
            try:
                command([*self.load(who, METADATA, 4, requests), f"--log-file={log}"])
            finally:
                bulk.terminate()
        return sorted(int(line.split("\t")[2]) / 1e6 for line in log.read_text().splitlines())

    def memory(self, who: str) -> tuple[int, int]:
        """Bytes of nginx's processes, and of the kernel for their connections by TLS."""
        script = MEMORY.replace("UNIT", UNITS[who]).replace("PORT", str(PORTS[who][0]))
        *pss, tcp = self.root(script).splitlines()
        return sum(int(line.split()[1]) for line in pss) * 1024, int(tcp)

    def readers(self, who: str, count: int) -> dict[str, float]:
        """What readers cost, each of whom has begun with a package and takes nothing more. They have a minute to come:
        who takes nothing for so long is closed, so the first ones may be gone, one in a thousand."""
        before = self.memory(who)
        with many_files(), ExitStack() as stack:
            with among(self.site, HOST, READER):
                found = crowd(stack, self.site.lock.hosts[HOST].ipv4, [READER], PACKAGE, count, PORTS[who][0])
            if found[200] < count * 0.999:
                raise BenchError(f"{who}: {count} readers were answered {dict(found)}")
            nginx, kernel = (now - then for now, then in zip(self.memory(who), before, strict=True))
        return {"nginx": nginx, "kernel": kernel, "each": (nginx + kernel) / count}


@contextmanager
def built(work: Path, megabytes: int) -> Iterator[Server]:
    """The server with a package of that size, in a lab of its own, for as long as it lasts."""

    def change(document: Any) -> None:
        only(document, HOST)
        del document["settings"]["web"]
        document["settings"]["release"] |= {"certificate": {"challenge": "none"}, "connections_per_address": 65535}

    lifecycle.down(LAB)
    lab = lifecycle.up(LAB)
    try:
        inventory = derive(lab, work / "site", change)
        for deploy in ("provision", "release"):
            console.print(f"  {deploy}")
            done = converge(inventory, deploy)
            if not done.ok:
                raise BenchError(done.output)
        site = load_site(inventory)
        load.content(site)
        with configured(site) as config:
            server = Server(site, config)
            server.root(PREPARE)
            server.root(f"head -c {megabytes}M /dev/urandom > /srv/release/public{PACKAGE}")
            yield server
    finally:
        lifecycle.down(LAB)


def run(server: Server, work: Path, megabytes: int, rounds: int, readers: int) -> dict[str, Any]:
    """All results."""
    packages = max(BULK, 4000 // megabytes)
    contests = {
        "bulk, TLS": (PACKAGE, BULK, packages, True),
        "bulk": (PACKAGE, BULK, packages, False),
        "metadata, TLS": (METADATA, LINES, 40_000, True),
    }
    found: dict[str, Any] = {}
    for name, (path, clients, requests, tls) in contests.items():
        console.print(name)
        times: Times = {}
        runs = {who: partial(server.ask, who, path, clients, requests, tls=tls) for who in PORTS}
        for who in PORTS:
            server.ask(who, path, clients, max(clients, requests // 4), tls=tls)
        for number in range(rounds):
            one_round(number, runs, times, console.print, before=lambda: None)
        sums = summed(times)
        unit = megabytes if path == PACKAGE else 1
        rates = {who: requests * unit / one["median_s"] for who, one in sums.items()}
        found[name] = {"times": sums, "rates": rates, "ratio": rates[OURS] / rates[MINIMAL]}
    delays: dict[str, list[float]] = {who: [] for who in PORTS}
    for _ in range(rounds):
        for who in PORTS:
            delays[who] += server.delays(who, 2000, work / "delays")
    found["delays"] = {
        who: {"p50": statistics.median(all_), "p99": statistics.quantiles(all_, n=100)[98]}
        for who, all_ in delays.items()
    }
    found["readers"] = {who: server.readers(who, readers) for who in PORTS}
    found["aim"] = min(found[name]["ratio"] for name in ("bulk, TLS", "bulk")) >= RATIO
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the results for people, or for programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=200, metavar="MB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--readers", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if not shutil.which("h2load"):
        sys.exit("h2load is not there: apt-get install nghttp2-client")
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as folder, built(Path(folder), given.size) as server:
        found = run(server, Path(folder), given.size, given.rounds, given.readers)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        Console().print(_table(found), f"bulk: aim {'met' if found['aim'] else 'missed'}")
    sys.exit(0 if found["aim"] else 1)


def _table(found: dict[str, Any]) -> Table:
    table = Table("", OURS, MINIMAL, "ratio")
    for name in ("bulk, TLS", "bulk", "metadata, TLS"):
        unit = "MB/s" if name.startswith("bulk") else "requests/s"
        rates = [f"{found[name]['rates'][who]:,.0f} {unit}" for who in PORTS]
        table.add_row(name, *rates, f"{found[name]['ratio']:.3f}")
    for part in ("p50", "p99"):
        ours, minimal = (found["delays"][who][part] * 1000 for who in PORTS)
        table.add_row(f"metadata beside bulk, {part}", f"{ours:.1f} ms", f"{minimal:.1f} ms", f"{ours / minimal:.2f}")
    for part in ("nginx", "kernel"):
        sizes = [f"{found['readers'][who][part] / 1e6:,.0f} MB" for who in PORTS]
        table.add_row(f"slow readers, {part}", *sizes)
    return table


if __name__ == "__main__":
    main()

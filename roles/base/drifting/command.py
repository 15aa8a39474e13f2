"""One look of a host at itself: the first one after a deploy is remembered, the others are compared with that.

What differs goes to /var/lib/mainstay/drift.json, to a metric where there is an exporter, and as its output into the
journal, which is mailed, once, where no monitor host tells of the metric. While a deploy is under way, or where the
last one did not come to its end, there is nothing to compare with.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roles.base.drifting.compare import Finding, differences
from roles.base.drifting.shot import Shot, take
from roles.common.on_host.look import Failure, run

FOLDER = Path("/var/lib/mainstay")
DEPLOYS, DECLARED = FOLDER / "deploys.jsonl", FOLDER / "declared.json"
"""Both are written by ../../common/on_host/deploying.py."""
REMEMBERED, STATUS = FOLDER / "as-deployed.json", FOLDER / "drift.json"
METRICS = Path("/var/lib/prometheus/node-exporter/mainstay-drift.prom")
MONITORED = Path("/etc/mainstay/monitored/exporter.yml")
"""Is there where a monitor host tells of what the metric says."""
MAIL = "mainstay-failed@mainstay-drift.service.service"
METRIC_KINDS = ("files", "firewall", "kernel", "packages", "services", "sockets", "units", "users")
AGAIN_S = 20
"""What differs is told if it does so still after this: services restart, and programs open a socket for a moment."""


def finished() -> str:
    """The id of the last deploy; empty while it is under way, and where it did not come to its end."""
    lines = DEPLOYS.read_text().splitlines() if DEPLOYS.exists() else []
    try:
        last = json.loads(lines[-1]) if lines else {}
    except ValueError:  # the host went down while it was written
        return ""
    return str(last["id"]) if last.get("event") == "finished" else ""


def read(path: Path) -> dict[str, Any]:
    """Empty where it is not there."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(0o600)
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.rename(path)


def looked(deploy: str) -> tuple[dict[str, Any], list[Finding]]:
    """What is remembered, and what is not so any more."""
    declared, memory = read(DECLARED), read(REMEMBERED)
    now = take(declared)
    if memory.get("deploy") != deploy:
        return {"deploy": deploy, "time": time.time(), "shot": now}, []
    found = against(memory["shot"], now)
    if found:
        time.sleep(AGAIN_S)
        still = {one[:2] for one in against(memory["shot"], take(declared))}
        found = [one for one in found if one[:2] in still]
    return memory, found


def against(before: Shot, now: Shot) -> list[Finding]:
    return differences(before, now, time.time())


def tell(memory: dict[str, Any], found: list[Finding]) -> None:
    """Writes it down, and has it mailed if some of it was not told yet."""
    last = read(STATUS)
    told = {(one["kind"], one["what"]): one for one in last.get("findings", ())} if _same(last, memory) else {}
    now = time.time()
    findings = [{**one._asdict(), "noticed": told[one[:2]]["noticed"] if one[:2] in told else now} for one in found]
    for one in found:
        since = f" (since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(one.since))} UTC)" if one.since else ""
        print(f"{one.kind}: {one.what}: {one.why}{since}", flush=True)
    if {one[:2] for one in found} - told.keys() and not MONITORED.exists():
        run("journalctl", "--sync")
        run("systemctl", "start", "--no-block", MAIL)
    status = {"deploy": memory["deploy"], "remembered": memory["time"], "looked": now, "findings": findings}
    write(STATUS, json.dumps(status), 0o640)
    if METRICS.parent.exists():
        write(METRICS, "".join(f"{line}\n" for line in metrics(found, now)), 0o644)


def _same(status: dict[str, Any], memory: dict[str, Any]) -> bool:
    return bool(status.get("deploy") == memory["deploy"])


def metrics(found: list[Finding], now: float) -> Iterator[str]:
    """For the node exporter's textfile collector."""
    yield "# HELP mainstay_drift_findings What is not as the last deploy left it."
    yield "# TYPE mainstay_drift_findings gauge"
    for kind in METRIC_KINDS:
        yield f'mainstay_drift_findings{{kind="{kind}"}} {sum(one.kind == kind for one in found)}'
    yield "# HELP mainstay_drift_looked_time_seconds When the host looked last."
    yield "# TYPE mainstay_drift_looked_time_seconds gauge"
    yield f"mainstay_drift_looked_time_seconds {now:.0f}"


def main() -> int:
    try:
        while (deploy := finished()) and DECLARED.exists():
            memory, found = looked(deploy)
            if finished() != deploy:  # another one has begun meanwhile: what was seen belongs to neither
                continue
            if memory["deploy"] != read(REMEMBERED).get("deploy"):
                write(REMEMBERED, json.dumps(memory), 0o600)
            tell(memory, found)
            return 0
        print("no deploy has come to its end here since: there is nothing to compare with")
    except (Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        print(f"this host could not look at itself: {error!r}", file=sys.stderr)
        return 1
    return 0

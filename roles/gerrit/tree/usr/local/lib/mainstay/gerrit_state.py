"""How Gerrit is, as JSON, and as metrics for the textfile collector of Prometheus' node exporter: `SITE URL SSH_PORT
ACCOUNT TOKEN_FILE JSON_FILE METRICS_FILE`.

What does not answer is told in `wrong`, and the rest is right. Sizes are in bytes, times in seconds.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

UNIT = "gerrit.service"
ASK_S, CLONE_S, SSH_S = 30, 60, 10
A_PAGE = 500
"""Changes that an answer lists at most."""
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
PROBE = "All-Projects"
"""The project whose clone is timed: every server has it."""
HELP = {
    "mainstay_gerrit_state_time_seconds": "When Gerrit was last looked at (Unix time).",
    "mainstay_gerrit_up": "1 when it answers by http and by ssh, and a clone begins.",
    "mainstay_gerrit_info": "1, with the version that runs.",
    "mainstay_gerrit_start_time_seconds": "Since when it runs (Unix time).",
    "mainstay_gerrit_restarts": "How often it was started again by itself since its unit was last started.",
    "mainstay_gerrit_plugin_info": "1 for each plugin that is loaded, with its version.",
    "mainstay_gerrit_tasks": "Tasks of a queue, by state.",
    "mainstay_gerrit_heap_used_bytes": "Java's heap that is in use.",
    "mainstay_gerrit_heap_limit_bytes": "How large Java's heap may get.",
    "mainstay_gerrit_threads": "Java's threads.",
    "mainstay_gerrit_cache_disk_bytes": "Size of a cache's file.",
    "mainstay_gerrit_changes_day": "Changes that were updated within a day.",
    "mainstay_gerrit_ssh_seconds": "How long ssh takes to greet.",
    "mainstay_gerrit_clone_seconds": "How long a clone takes to its first bytes of objects.",
    "mainstay_gerrit_free_bytes": "Room on the site's volume.",
    "mainstay_gerrit_size_bytes": "Size of the site's volume.",
}


class Server:
    """Gerrit on loopback, as an administrator."""

    def __init__(self, url: str, account: str, token: str) -> None:
        self.url = url
        self.login = {"Authorization": f"Basic {b64encode(f'{account}:{token}'.encode()).decode()}"}

    def open(self, path: str, data: bytes | None = None, timeout_s: float = ASK_S, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.url}a/{path}", data, self.login | named)  # noqa: S310  # our own
        return urllib.request.urlopen(request, timeout=timeout_s)  # noqa: S310  # our own

    def ask(self, path: str) -> Any:
        """JSON, of which the first line is there to keep browsers from running it."""
        with self.open(path) as answer:
            return json.loads(answer.read().split(b"\n", 1)[1])


def state(site: Path, server: Server, ssh_port: int) -> dict[str, Any]:
    """All of it; what cannot be had is null. A server that does not answer the first question is not asked others."""
    answered: dict[str, Callable[[], Any]] = {
        "plugins": lambda: {name: one.get("version", "") for name, one in server.ask("plugins/").items()},
        "queues": lambda: queues(server.ask("config/server/tasks/")),
        "java": lambda: java(server.ask("config/server/summary?jvm")),
        "changes_day": lambda: changes(server),
        "clone_seconds": lambda: clone(server),
    }
    told: dict[str, Any] = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "wrong": [], "version": None}
    told |= dict.fromkeys(answered)

    def put(what: str, ask: Callable[[], Any]) -> None:
        told[what] = None
        try:
            told[what] = ask()
        except urllib.error.HTTPError as error:
            told["wrong"].append(f"{what}: answers {error.code} {error.reason}")
        except (OSError, ValueError, LookupError) as error:
            told["wrong"].append(f"{what}: {getattr(error, 'reason', error)}")

    put("unit", unit)
    put("site_version", lambda: (site / "etc/mainstay.version").read_text().strip())
    put("caches", lambda: {file.name.split(".")[0]: file.stat().st_size for file in (site / "cache").glob("*.db")})
    put("ssh_seconds", lambda: ssh(ssh_port))
    put("disk", lambda: dict(zip(("size", "free"), shutil.disk_usage(site)[::2], strict=True)))
    put("version", lambda: server.ask("config/server/version"))
    for what, ask in answered.items():
        if told["version"]:
            put(what, ask)
    return told


def unit() -> dict[str, Any]:
    """What systemd knows."""
    wanted = ("ActiveState", "SubState", "NRestarts", "ActiveEnterTimestamp")
    words = ["systemctl", "show", UNIT, "--timestamp=unix", *(f"-p{name}" for name in wanted)]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = dict(line.split("=", 1) for line in said.splitlines())
    since = found["ActiveEnterTimestamp"].removeprefix("@")
    running = since and found["ActiveState"] == "active"
    state = f"{found['ActiveState']} ({found['SubState']})"
    return {"state": state, "restarts": int(found["NRestarts"]), "since": int(since) if running else None}


def queues(tasks: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """How many tasks, by queue and state. What sleeps waits for its time, what is ready for a thread."""
    found: dict[str, Counter[str]] = {}
    for task in tasks:
        found.setdefault(task["queue_name"], Counter())[task["state"].lower()] += 1
    return {queue: dict(sorted(states.items())) for queue, states in sorted(found.items())}


def java(summary: dict[str, Any]) -> dict[str, int]:
    memory, threads = summary["mem_summary"], summary["thread_summary"]
    return {"used": size(memory["used"]), "limit": size(memory["max"]), "threads": threads["threads"]}


def size(text: str) -> int:
    """Bytes of `96.77m`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)", text)
    if not found:
        raise ValueError(f"{text!r} is no size")
    return round(float(found[1]) * UNITS.get(found[2], 1))


def changes(server: Server) -> int:
    """Updated within a day."""
    count = 0
    while True:
        page = server.ask(f"changes/?q=-age:1d&n={A_PAGE}&S={count}")
        count += len(page)
        if not page or not page[-1].get("_more_changes"):
            return count


def ssh(port: int) -> float:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), SSH_S) as connection:
        greeting = connection.recv(4)
    if greeting != b"SSH-":
        raise ValueError(f"it greets with {greeting!r}")
    return time.monotonic() - begun


def clone(server: Server) -> float:
    """To the first bytes of a pack, by git's protocol 2."""
    begun = time.monotonic()
    head = server.ask(f"projects/{PROBE}/branches/refs%2Fmeta%2Fconfig")["revision"]
    lines = [b"command=fetch", None, b"no-progress\n", b"done\n", f"want {head}\n".encode()]
    body = b"".join(b"0001" if line is None else b"%04x%s" % (len(line) + 4, line) for line in lines) + b"0000"
    kind = "application/x-git-upload-pack-request"
    with server.open(f"{PROBE}/git-upload-pack", body, CLONE_S, Content_Type=kind, Git_Protocol="version=2") as answer:
        first = answer.read(64)
    if b"packfile\n" not in first:
        raise ValueError(f"a clone is answered by {first!r}")
    return time.monotonic() - begun


def samples(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels, value; nothing for what is not known."""
    yield "state_time_seconds", {}, datetime.fromisoformat(told["time"]).timestamp()
    yield "up", {}, float(None not in (told["version"], told["ssh_seconds"], told["clone_seconds"]))
    for name in ("changes_day", "ssh_seconds", "clone_seconds"):
        if told[name] is not None:
            yield name, {}, told[name]
    if told["version"]:
        yield "info", {"version": told["version"]}, 1
    if told["unit"]:
        yield "restarts", {}, told["unit"]["restarts"]
        if told["unit"]["since"]:
            yield "start_time_seconds", {}, told["unit"]["since"]
    for name, version in (told["plugins"] or {}).items():
        yield "plugin_info", {"plugin": name, "version": version}, 1
    for queue, states in (told["queues"] or {}).items():
        for one, count in states.items():
            yield "tasks", {"queue": queue, "state": one}, count
    if told["java"]:
        yield "heap_used_bytes", {}, told["java"]["used"]
        yield "heap_limit_bytes", {}, told["java"]["limit"]
        yield "threads", {}, told["java"]["threads"]
    for name, one in (told["caches"] or {}).items():
        yield "cache_disk_bytes", {"cache": name}, one
    if told["disk"]:
        yield "free_bytes", {}, told["disk"]["free"]
        yield "size_bytes", {}, told["disk"]["size"]


def exposition(told: dict[str, Any]) -> str:
    """Gauges in Prometheus' text format."""
    lines: dict[str, list[str]] = {name: [] for name in HELP}
    for short, labels, value in samples(told):
        name = f"mainstay_gerrit_{short}"
        shown = ",".join(f"{label}={json.dumps(text, ensure_ascii=False)}" for label, text in labels.items())
        lines[name].append(f"{name}{{{shown}}} {value:.15g}" if shown else f"{name} {value:.15g}")
    text = ""
    for name, said in HELP.items():
        text += "\n".join([f"# HELP {name} {said}", f"# TYPE {name} gauge", *lines[name]]) + "\n"
    return text


def replace(path: str, text: str) -> None:
    """Whole or not at all."""
    fresh = Path(f"{path}.new")
    fresh.write_text(text)
    fresh.chmod(0o644)
    fresh.replace(path)


def main(site: str, url: str, ssh_port: str, account: str, token_file: str, said: str, metrics: str) -> None:
    token = Path(token_file).read_text().strip()
    told = state(Path(site), Server(url, account, token), int(ssh_port))
    replace(said, json.dumps(told) + "\n")
    replace(metrics, exposition(told))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Hosts made through the lab's API as any client of it would, for tests of the lab itself."""

import base64
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from lab import lifecycle
from lab.api.store import MAIN
from lab.engine import LabConfig
from tests.waiting import until

PLAN = {"region": "ams", "plan": "vc2-1c-1gb", "os_id": 2625, "enable_ipv6": True}


@dataclass(frozen=True)
class Host:
    """A host with the host key that it was given."""

    id: str
    label: str
    ipv4: str
    ipv6: str
    folder: Path
    """Holds `key` (the admin's) and `known_hosts`."""

    def ssh(self, command: str, *, check: bool = True, timeout_s: float = 60) -> str:
        """Runs a command as root; its output. check=False: also of one that failed."""
        options = ["UserKnownHostsFile=" + str(self.folder / "known_hosts"), f"HostKeyAlias={self.label}"]
        options += ["StrictHostKeyChecking=yes", "BatchMode=yes", "ConnectTimeout=5", "LogLevel=ERROR"]
        words = ["ssh", "-F", "none", "-i", str(self.folder / "key"), *(f"-o{option}" for option in options)]
        done = subprocess.run(
            [*words, f"tester@{self.ipv4}", "sudo", "sh", "-c", f"'{command}'"],
            text=True,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def answers(self) -> bool:
        return self.ssh("echo here", check=False).strip() == "here"


class LabCloud:
    """The lab's API by the key of an account, and hosts with known keys."""

    def __init__(self, config: LabConfig, folder: Path, account: str = MAIN) -> None:
        self.config, self.folder = config, folder
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {lifecycle.api_key(config, account)}"
        keygen(folder / "key")

    def raw(self, method: str, path: str, body: Any = None, timeout_s: float = 60) -> requests.Response:
        base = self.config.api_url.removesuffix("/v2")
        return self._session.request(method, base + path, json=body, timeout=timeout_s)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """The body of a call that must succeed; a locked server and a full second are waited for."""
        answer = until("an answer", lambda: self._answer(method, path, body))[0]
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def _answer(self, method: str, path: str, body: Any) -> list[requests.Response]:
        answer = self.raw(method, f"/v2{path}", body)
        busy = answer.status_code == 429 or "currently locked" in answer.text
        return [] if busy else [answer]

    def begin(self, label: str, users: Sequence[dict[str, Any]] = (), **fields: Any) -> str:
        """Creates a host with user data that gives it a host key, an admin and those users; its id."""
        key = self.folder / f"host-{label}"
        keygen(key)
        user_data = {
            "ssh_deletekeys": True,
            "ssh_keys": {"ed25519_private": key.read_text(), "ed25519_public": key.with_suffix(".pub").read_text()},
            "users": [
                {
                    "name": "tester",
                    "shell": "/bin/bash",
                    "sudo": "ALL=(ALL) NOPASSWD:ALL",
                    "ssh_authorized_keys": [(self.folder / "key.pub").read_text().strip()],
                },
                *users,
            ],
        }
        with (self.folder / "known_hosts").open("a") as out:
            out.write(f"{label} {key.with_suffix('.pub').read_text()}")
        text = "#cloud-config\n" + json.dumps(user_data)
        encoded = base64.b64encode(text.encode()).decode()
        body = PLAN | {"label": label, "hostname": label, "user_data": encoded} | fields
        body = {key: value for key, value in body.items() if value is not None}
        instance_id: str = self("POST", "/instances", body)["instance"]["id"]
        return instance_id

    def ready(self, instance_id: str, *, key_of: str = "", timeout_s: float = 60) -> Host:
        """The host once it lets its admin in. key_of: the label whose host key it has, if not its own."""
        shown = until("an ok instance", lambda: self._ok(instance_id), timeout_s=timeout_s)
        host = Host(instance_id, key_of or shown["label"], shown["main_ip"], shown["v6_main_ip"], self.folder)
        until(f"ssh to {shown['label']}", host.answers, timeout_s=timeout_s)
        return host

    def _ok(self, instance_id: str) -> Any:
        shown = self.show(instance_id)
        return shown if (shown["status"], shown["server_status"]) == ("active", "ok") else None

    def show(self, instance_id: str) -> Any:
        return self("GET", f"/instances/{instance_id}")["instance"]

    def host(self, label: str, **fields: Any) -> Host:
        return self.ready(self.begin(label, **fields))

    def delete_all(self) -> None:
        for kind, name in (("instances", "instances"), ("blocks", "blocks"), ("snapshots", "snapshots")):
            for item in self("GET", f"/{kind}")[name]:
                self("DELETE", f"/{kind}/{item['id']}")
        until("no instances", lambda: not self("GET", "/instances")["instances"])


def keygen(path: Path) -> None:
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)


def cloud(config: LabConfig, folder: Path, account: str = MAIN) -> Iterator[LabCloud]:
    """A fixture's body: the lab's cloud, and none of its hosts afterwards."""
    made = LabCloud(config, folder, account)
    yield made
    made.delete_all()

"""Hosts of an engine alone, without the lab's API: a lab's network, a metadata service, and ssh into what boots."""

import json
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from lab import lifecycle
from lab.api.server import listen
from lab.engine import LabConfig, Machine, Nic
from lab.hosts import LabEngine
from lab.network import METADATA, bridge
from tests.labs import lab_name
from tests.waiting import until

BOOT_TIMEOUT_S = 60


class EngineHosts:
    """Machines by number, and what tests ask of them."""

    def __init__(self, config: LabConfig) -> None:
        self.config = config
        self.engine = LabEngine(config)
        self.key = config.root / "key"
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)

    def machine(self, number: int, *, vpc: str = "", **changes: Any) -> Machine:
        offset = 0x100 + number
        public = Nic(
            f"56:00:{self.config.index:02x}:00:01:{number:02x}",
            "public",
            (IPv4Interface(f"{self.config.network4[offset]}/20"),),
            (IPv6Interface(f"{self.config.network6[offset]}/64"),),
        )
        nics: tuple[Nic, ...] = (public,)
        if vpc:
            nics += (Nic(f"5a:00:00:00:01:{number:02x}", vpc, (IPv4Interface(f"10.9.8.{number}/24"),)),)
        identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.config.name}-{number}"))
        return replace(Machine(identity, "debian-13", 1, 1024, 25, nics), **changes)

    def boot(self, number: int, **changes: Any) -> Machine:
        machine = self.machine(number, **changes)
        self.engine.create(machine)
        self.engine.start(machine)
        self.wait_for_ssh(machine)
        return machine

    def wait_for_ssh(self, machine: Machine) -> None:
        """Until sshd greets: it does only after cloud-init has made the admin's account."""
        until("sshd greets", lambda: greets(address(machine)), timeout_s=BOOT_TIMEOUT_S)

    def reboot(self, machine: Machine) -> None:
        """From inside, as an upgrade does; returns when sshd greets again."""
        before = self.engine.status(machine.id).pid
        self.ssh(machine, "sudo reboot", check=False)
        until("a new init", lambda: self.engine.status(machine.id).pid not in (0, before), timeout_s=BOOT_TIMEOUT_S)
        self.wait_for_ssh(machine)

    def ssh(self, machine: Machine, command: str, *, check: bool = True, timeout_s: float = 60) -> str:
        """Output of a command run by the admin, who may sudo."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=10"]
        words = [word for option in options for word in ("-o", option)]
        done = subprocess.run(
            ["ssh", *words, "-i", str(self.key), f"lab@{address(machine)}", command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def user_data(self) -> str:
        user = {
            "name": "lab",
            "ssh_authorized_keys": [(self.key.with_suffix(".pub")).read_text().strip()],
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "shell": "/bin/bash",
        }
        return "#cloud-config\n" + json.dumps({"users": [user], "ssh_genkeytypes": ["ed25519"]})


def address(machine: Machine) -> str:
    return str(machine.nics[0].ipv4[0].ip)


def address6(machine: Machine) -> str:
    return str(machine.nics[0].ipv6[0].ip)


def greets(host: str, port: int = 22) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.settimeout(5)
            return connection.recv(4).startswith(b"SSH")
    except OSError:
        return False


@contextmanager
def engine_lab(name: str) -> Iterator[EngineHosts]:
    """A lab with an engine and a metadata service, swept afterwards."""
    name = lab_name(name)
    lifecycle.down(name)
    hosts = EngineHosts(lifecycle.reserve(name))
    try:
        hosts.engine.prepare()
        with metadata(hosts):
            yield hosts
    finally:
        lifecycle.down(name)


@contextmanager
def metadata(hosts: EngineHosts) -> Iterator[None]:
    """As much of the provider's metadata as cloud-init's datasource asks for. `GET /` answers, or it would try DHCP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            source = self.client_address[0]
            body = json.dumps(_answer(hosts, source)) if self.path == "/v1.json" else "v1\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((METADATA, 80), Handler, bind_and_activate=False)
    server.socket = listen(METADATA, 80, device=bridge(hosts.config))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _answer(hosts: EngineHosts, source: str) -> dict[str, Any]:
    number = source.rsplit(".", 1)[1]
    ipv4 = {"address": source, "netmask": "255.255.240.0", "gateway": str(hosts.config.gateway4)}
    ipv6 = {"address": "", "network": "", "prefix": "", "routes": [], "additional": []}
    mac = f"56:00:{hosts.config.index:02x}:00:01:{int(number):02x}"
    return {
        "hostname": f"host-{number}",
        "instance-v2-id": f"{hosts.config.name}-{number}",
        "instanceid": number,
        "region": {"regioncode": "AMS", "countrycode": "NL"},
        "user-data": hosts.user_data(),
        "vendor-data": "#cloud-config\n{}\n",
        "startup-script": "",
        "public-keys": [],
        "interfaces": [
            {"mac": mac, "network-type": "public", "ipv4": ipv4 | {"routes": [], "additional": []}, "ipv6": ipv6}
        ],
    }

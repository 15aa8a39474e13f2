"""The site as an Ansible playbook, made from what bench/stand_ins.py wrote down, and Ansible in a venv of its own.

In Ansible's favour: one play for all roles, no fact gathering, templates rendered beforehand, connections kept open
between runs, and nothing of what the primitives know about services that run an older configuration.
"""

import json
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inventories.inventory import LoadedSite

CONFIG = """[defaults]
inventory = {folder}/hosts.ini
forks = 50
gathering = explicit
host_key_checking = True
interpreter_python = /usr/bin/python3
[ssh_connection]
pipelining = True
ssh_args = -o ControlMaster=auto -o ControlPersist=600s -o UserKnownHostsFile={known_hosts}
control_path_dir = {folder}/cp
"""


def install(folder: Path) -> Path:
    """ansible-core from PyPI; returns ansible-playbook."""
    venv.create(folder / "venv", with_pip=True)
    subprocess.run([folder / "venv/bin/pip", "install", "-q", "ansible-core"], check=True)
    return folder / "venv/bin/ansible-playbook"


def write(site: LoadedSite, recorded: Path, folder: Path) -> Path:
    """ansible.cfg, hosts.ini and site.yml in folder; returns the last."""
    hosts = sorted(file.stem for file in recorded.glob("*.json"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ansible.cfg").write_text(CONFIG.format(folder=folder, known_hosts=site.known_hosts()))
    lines = [
        f"{name} ansible_host={site.lock.hosts[name].ipv4} ansible_user={site.ssh_user} "
        f"ansible_ssh_private_key_file={site.ssh_key}\n"
        for name in hosts
    ]
    (folder / "hosts.ini").write_text("".join(lines))
    tasks: dict[str, dict[str, Any]] = {}
    wanted_by: dict[str, list[str]] = {}
    for name in hosts:
        for item in json.loads((recorded / f"{name}.json").read_text()):
            for task in _tasks(item, recorded):
                key = json.dumps(task, sort_keys=True)
                tasks[key] = task
                wanted_by.setdefault(key, []).append(name)
    for key, task in tasks.items():
        if wanted_by[key] != hosts:
            task["when"] = f"inventory_hostname in {wanted_by[key]!r}"
    play = {"hosts": "all", "become": True, "gather_facts": False, "tasks": list(tasks.values())}
    # JSON is YAML.
    (folder / "site.yml").write_text(json.dumps([play], indent=1))
    return folder / "site.yml"


def _tasks(item: dict[str, Any], recorded: Path) -> Iterator[dict[str, Any]]:
    def task(title: str, module: str, /, **words: Any) -> dict[str, Any]:
        return {
            "name": title,
            f"ansible.builtin.{module}": {key: value for key, value in words.items() if value is not None},
        }

    owner, _, group = (item.get("owner") or "").partition(":")
    rights = {"owner": owner or None, "group": group or None, "mode": item.get("mode")}
    if "packages" in item:
        yield task("packages", "apt", name=item["packages"])
    elif "user" in item:
        for needed in item["groups"]:
            yield task(f"group {needed}", "group", name=needed)
        yield task(
            item["user"],
            "user",
            name=item["user"],
            shell=item["shell"],
            home=item["home"],
            groups=list(item["groups"]) or None,
            system=item["system"],
            create_home=False,
        )
        if item["keys"]:
            content = "".join(f"{line}\n" for line in item["keys"]["lines"])
            path = item["keys"]["path"]
            yield task(path, "copy", dest=path, content=content, owner=item["user"], mode="0600")
    elif "no_user" in item:
        yield task(f"no {item['no_user']}", "user", name=item["no_user"], state="absent")
    elif "directory" in item:
        yield task(item["directory"], "file", path=item["directory"], state="directory", **rights)
    elif "file" in item:
        source = f"{recorded}/{{{{ inventory_hostname }}}}{item['file']}"
        yield task(item["file"], "copy", src=source, dest=item["file"], **rights)
    elif "no_file" in item:
        yield task(f"no {item['no_file']}", "file", path=item["no_file"], state="absent")
    elif "unit" in item:
        state = "started" if item["running"] else "stopped"
        yield task(item["unit"], "systemd_service", name=item["unit"], state=state, enabled=item["enabled"])

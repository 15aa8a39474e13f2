"""Whether people can work with a restored Gerrit: clone over https and ssh, push a change, have it reviewed and merged.

git runs on the machine that drills, as theirs does, and believes the certificate and the host keys of this host alone.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup.agent.ref_manifest import Listed
from backup.drills.checks import CheckFailed, Evidence, Restored
from backup.drills.serving import in_turn, own_certificate, turns
from backup.sizes import counted
from roles.gerrit.asked import Api, Person, name_of, person
from roles.gerrit.repositories import GIT, SUFFIX, manifest, project
from roles.gerrit.restored import HOST_KEYS
from roles.gerrit.settings import SSH_PORT

CLONED, CLONE_AT_MOST = 2, 300 << 20
"""Projects that are cloned in each drill, other ones each time, and how large they may be, in bytes."""
GIT_S = 600
HEADS = "refs/heads/"
ALL_HEADS = "refs/heads/*"
REGISTERED, ADMINS = "global:Registered-Users", "Administrators"
SUBJECT = "A change of a restore drill"


@dataclass(frozen=True)
class Clones:
    """How git of one person reaches this host, and no other."""

    copy: Restored
    who: Person

    def __post_init__(self) -> None:
        client = self.copy.client
        (self.who.folder / "host.pem").write_text(own_certificate(self.copy))
        public = sorted(file.path for file in self.copy.saved if HOST_KEYS.fullmatch(file.path))
        known = [text.decode(errors="replace").split() for text in self.copy.read(*public)]
        at = f"[{client.address}]:{SSH_PORT}"
        (self.who.folder / "known_hosts").write_text("".join(f"{at} {kind} {key}\n" for kind, key, *_ in known))
        # Asked for by git alone: in no list of processes, and in no URL that an error repeats.
        credentials = f"https://{self.who.api.user}:{self.who.api.token}@{client.name}\n"
        (self.who.folder / "credentials").touch(mode=0o600)
        (self.who.folder / "credentials").write_text(credentials)

    def https(self, name: str) -> str:
        return f"https://{self.copy.client.name}/a/{name_of(name)}"

    def ssh(self, name: str) -> str:
        return f"ssh://{self.who.api.user}@{self.copy.client.address}:{SSH_PORT}/{name_of(name)}"

    def git(self, *words: str, at: Path | None = None) -> str:
        """Raises CheckFailed with what git said."""
        folder, client = self.who.folder, self.copy.client
        ssh = f"ssh -F none -i {self.who.key} -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes"
        options = {
            "http.sslCAInfo": folder / "host.pem",
            "http.curloptResolve": f"{client.name}:443:{client.address}",
            "credential.helper": f"store --file {folder}/credentials",
            "user.name": self.who.api.user,
            "user.email": self.who.email,
        }
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": f"{ssh} -o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes",
            "GIT_CONFIG_COUNT": str(len(options)),
        }
        for number, (key, value) in enumerate(options.items()):
            own |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": str(value)}
        try:
            done = subprocess.run(
                ["git", *words], cwd=at, env=own, capture_output=True, text=True, timeout=GIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"git {words[0]} took longer than {GIT_S} s") from None
        if done.returncode:
            raise CheckFailed(f"git {' '.join(words[:2])}: {done.stderr.strip()[-500:]}")
        return done.stdout + done.stderr


def clone(copy: Restored) -> Evidence:
    """Some projects that anybody may read, other ones each time, by each way; their branches are as they were saved."""
    with person(copy) as who:
        clones, known = Clones(copy, who), manifest(copy)
        readable = {name for name, _ in who.api.pages("/a/projects/?type=CODE", "")}
        sizes = Counter[str]()
        for file in copy.saved:
            if file.type == "file" and file.path.startswith(f"{GIT}/"):
                sizes[f"{file.path.partition(f'{SUFFIX}/')[0]}{SUFFIX}"] += file.size
        eligible = [
            path
            for path, one in sorted(known.items())
            if project(path) in readable and sizes[path] <= CLONE_AT_MOST and any(map(_is_head, one.refs))
        ]
        if not eligible:
            raise CheckFailed("a registered user can read no project that has a branch: there is nothing to clone")
        chosen = in_turn(eligible, copy.turn, CLONED)
        seen = [_cloned(clones, known[path], url) for path in chosen for url in (clones.https, clones.ssh)]
    told = (
        f"{', '.join(map(project, chosen))}, each over https and ssh: {counted(sum(seen) // 2, 'branch', 'branches')}"
    )
    return Evidence((told,), len(chosen), len(eligible), turns(eligible, CLONED))


def _is_head(name: str) -> bool:
    return name.startswith(HEADS)


def _cloned(clones: Clones, saved: Listed, url: Any) -> int:
    """How many branches it has, each as it was saved. Some may be hidden from this person."""
    into, name = clones.who.folder / "clone", project(saved.path)
    clones.git("clone", "--quiet", "--bare", url(name), str(into))
    lines = clones.git("for-each-ref", "--format=%(refname) %(objectname)", HEADS, at=into).splitlines()
    shutil.rmtree(into)
    if wrong := [line for line in lines if saved.refs.get(line.split(" ")[0]) != line.split(" ")[1]]:
        raise CheckFailed(*(f"{name}: cloned {line}, which is not what was saved" for line in wrong))
    if not lines:
        raise CheckFailed(f"{name}: the clone has no branch")
    return len(lines)


def review(copy: Restored) -> Evidence:
    """A change is pushed over ssh to a new project, reviewed, submitted, and then fetched over https."""
    admin, name = Api.of(copy), f"drill-{secrets.token_hex(4)}"
    at = f"/a/projects/{name_of(name)}"
    admin.send("PUT", at, {"create_empty_commit": True, "description": "Of a restore drill"})
    branch = admin.get(f"{at}/HEAD").removeprefix(HEADS)
    allowed = {
        "refs/*": {"read": REGISTERED},
        f"refs/for/{ALL_HEADS}": {"push": REGISTERED},
        ALL_HEADS: {"submit": ADMINS},
    }
    _grant(admin, at, allowed)
    with person(copy) as who:
        clones, work = Clones(copy, who), who.folder / "work"
        clones.git("clone", "--quiet", clones.ssh(name), str(work))
        (work / "drill.txt").write_text(f"{SUBJECT}\n")
        clones.git("add", "drill.txt", at=work)
        key = f"I{secrets.token_hex(20)}"
        clones.git("commit", "--quiet", "-m", f"{SUBJECT}\n\nChange-Id: {key}", at=work)
        clones.git("push", "--quiet", "origin", f"HEAD:refs/for/{branch}", at=work)
        number = _merged(admin, at, f"/a/changes/{name_of(f'{name}~{branch}~{key}')}")
        clones.git("clone", "--quiet", clones.https(name), str(who.folder / "merged"))
        if not (who.folder / "merged/drill.txt").exists():
            raise CheckFailed(f"change {number} was submitted, and {branch} is without it")
    return Evidence((f"change {number}: pushed over ssh, reviewed, submitted, fetched over https",))


def _grant(admin: Api, at: str, allowed: dict[str, dict[str, str]], **more: Any) -> None:
    rules = {
        ref: {
            "permissions": {
                what: {"rules": {group: {"action": "ALLOW", **more}}} for what, group in permissions.items()
            }
        }
        for ref, permissions in allowed.items()
    }
    admin.send("POST", f"{at}/access", {"add": rules})


def _merged(admin: Api, at: str, change: str) -> int:
    """Gives it the best of each label that the site has, submits it, and returns its number."""
    labels = admin.get(f"{change}/detail").get("labels", {})
    for label in labels:
        _grant(admin, at, {ALL_HEADS: {f"label-{label}": ADMINS}}, min=-1, max=_best(labels[label]))
    votes = {label: _best(about) for label, about in labels.items()}
    admin.send("POST", f"{change}/revisions/current/review", {"labels": votes})
    admin.send("POST", f"{change}/submit", {})
    told = admin.get(change)
    if told["status"] != "MERGED":
        raise CheckFailed(f"change {told['_number']} was submitted, and is {json.dumps(told['status'])}")
    return int(told["_number"])


def _best(label: dict[str, Any]) -> int:
    return max(map(int, re.findall(r"[-+ ]\d+", " ".join(label["values"]))))

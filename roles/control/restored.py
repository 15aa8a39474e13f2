"""Whether what a restored control host keeps is whole, and whether its software and its keys are its own."""

import base64
import binascii
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backup.agent.refs import MANIFEST
from backup.collected import not_as_anchored
from backup.drills.checks import CheckFailed, Evidence, File, NotJudged, Restored
from backup.drills.on_host import python, some
from backup.entry import Entry
from backup.ledger import LedgerError, chain, lines
from backup.sizes import counted

MAINSTAY = "/usr/local/bin/mainstay"
HOLDS, SOFTWARE = "/etc/mainstay/control", "/opt/mainstay"
ACCOUNT_KEYS = "/etc/ssh/control_keys"
"""What lets the control host in, on each host that it watches: it watches itself too."""
LEDGERS, MIRRORS, ZONES = "ledgers", "mirrors", "zones"
OWN = ".control.jsonl"
NO_LEDGERS = (".rejected.jsonl", ".other.jsonl", ".pending.jsonl", ".pending.new.jsonl")
"""Of the record's files those that are no ledger of a data set (backup/collected.py)."""
PACK = 'set -eu; tar --create --gzip --file=- --directory "$1" -- "$2" | base64 -w0'
FSCK = r"""
import json, os, subprocess, sys
root = sys.argv[1]
env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
def git(folder, *words):
    words = ["git", "-c", "safe.directory=*", "--git-dir", folder, *words]
    done = subprocess.run(words, env=env, capture_output=True, text=True, errors="surrogateescape")
    return done.returncode, done.stdout, done.stderr
found = {}
for folder, names, files in os.walk(root):
    if "HEAD" in files and {"objects", "refs"} <= set(names):
        names[:] = []
        code, out, err = git(folder, "fsck", "--full", "--no-dangling", "--no-progress")
        said = [] if code == 0 else ((err + out).strip().splitlines() or [f"git fsck ended with {code}"])[:5]
        code, out, err = git(folder, "for-each-ref", "--format=%(refname) %(objectname) %(symref)")
        said += [] if code == 0 else [err.strip()]
        refs = {}
        for line in out.splitlines():
            name, value, to = line.split(" ")
            refs[name] = f"ref: {to}" if to else value
        with open(os.path.join(folder, "HEAD"), errors="surrogateescape") as file:
            head = file.read().strip()
        found[os.path.relpath(folder, os.path.dirname(root))] = {"said": said, "refs": refs, "head": head}
print(json.dumps(found))
"""
KEYS = r"""
import json, pathlib, sys
from inventories.keys import public_age, public_ssh
holds, account = map(pathlib.Path, sys.argv[1:])
def public(name, make):
    try:
        return make((holds / name).read_text())
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}"
print(json.dumps({
    "age": public("age_key", public_age),
    "age_public": (holds / "control.age.pub").read_text().strip(),
    "ssh": public("ssh_key", public_ssh),
    "ssh_public": account.read_text() if account.exists() else "",
}))
"""


def ledgers(copy: Restored) -> Evidence:
    """Each chain is whole, agrees with what was noted when it was collected, and the record here continues it."""
    wrong: list[str] = []
    unheard: list[str] = []
    entries = 0
    found = {name: content.split(b"\n") for name, content in _ledgers(copy).items()}
    parsed: dict[str, list[Entry]] = {}
    for name, (*whole, torn) in found.items():
        if torn:
            wrong.append(f"{name}: its last line has no end")
        try:
            parsed[name] = chain(name, whole)
        except LedgerError as error:
            wrong.append(str(error))
            continue
        entries += len(whole)
        here = lines(copy.record / name.removeprefix(f"{LEDGERS}/"))
        if not here:
            unheard.append(name)
        elif (at := _differs(whole, here)) is not None:
            wrong.append(f"{name}: line {at + 1} is not what the record here ({copy.record}) has")
    for name, control in parsed.items():
        host = f"{name.removesuffix(OWN)}.jsonl"
        if name.endswith(OWN) and host in parsed:
            wrong += not_as_anchored(Path(host), found[host][:-1], control)
    if wrong:
        raise CheckFailed(*wrong)
    if not found:
        raise CheckFailed("the snapshot has no ledger")
    if len(unheard) == len(found):
        raise NotJudged(
            f"every chain is whole, and {copy.record} has none of them to compare with: mainstay backup status"
        )
    told = [f"{counted(len(found), 'ledger')} of {counted(entries, 'entry', 'entries')}, whole and as recorded here"]
    if unheard:
        told.append(f"not recorded here: {some(unheard)}")
    return Evidence(tuple(told), len(found), len(found))


def listed_ledgers(copy: Restored) -> list[File]:
    """The hosts' ledgers and the control side's own."""
    below = [file for file in copy.wanted if file.type == "file" and file.path.startswith(f"{LEDGERS}/")]
    return [file for file in below if file.path.endswith(".jsonl") and not file.path.endswith(NO_LEDGERS)]


def _ledgers(copy: Restored) -> dict[str, bytes]:
    """Content by path below the root. No file is written here: what a host packs may be anything."""
    wanted = {file.path for file in listed_ledgers(copy)}
    try:
        packed = base64.b64decode(copy.sh(PACK, copy.root, LEDGERS, timeout_s=600))
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            files = [(one.name, archive.extractfile(one)) for one in archive if one.isfile() and one.name in wanted]
            found = {name: file.read() for name, file in files if file}
    except (tarfile.TarError, binascii.Error) as error:
        raise CheckFailed(f"{LEDGERS}: cannot be fetched: {error}") from None
    if missing := sorted(wanted - found.keys()):
        raise CheckFailed(f"{counted(len(missing), 'ledger')} missing: {some(missing)}")
    return found


def _differs(restored: Sequence[bytes], here: Sequence[bytes]) -> int | None:
    """The first line in which one does not continue the other, whichever is newer; counts from 0."""
    pairs = enumerate(zip(restored, here, strict=False))
    return next((number for number, (one, other) in pairs if one != other), None)


def mirrors(copy: Restored) -> Evidence:
    """git finds every object of every mirror, and the refs are those of when the backup began."""
    listed = {file.path for file in copy.saved}
    if MANIFEST not in listed:
        raise NotJudged(f"the snapshot has no {MANIFEST}, which says what refs there were")
    try:
        known = json.loads(copy.read(MANIFEST)[0])["repositories"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckFailed(f"{MANIFEST}: is no list of refs: {error!r}") from None
    found = python(copy, FSCK, f"{copy.root}/{MIRRORS}", timeout_s=3600)
    wrong = [f"{path}: is not there" for path in sorted(known.keys() - found.keys())]
    for path, one in sorted(found.items()):
        wrong += [f"{path}: {said}" for said in one["said"]]
        wrong += _refs(path, one, known[path]) if path in known else []
    if wrong:
        raise CheckFailed(*wrong)
    total = sum(len(one["refs"]) for one in found.values())
    told = [f"{counted(len(found), 'mirror')} with {counted(total, 'ref')}, git fsck finds all objects"]
    if unsaved := sorted(name for name in copy.settings.mirrors if f"{MIRRORS}/{name}.git" not in found):
        told.append(f"not yet in the snapshot: {some(unsaved)}")
    return Evidence(tuple(told), len(found), len(found))


def _refs(path: str, found: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    wrong = [f"{path}: HEAD is {found['head']}, saved as {known['head']}"] if found["head"] != known["head"] else []
    names = sorted(found["refs"].keys() | known["refs"].keys())
    for name in names:
        is_now, was = found["refs"].get(name, "nothing"), known["refs"].get(name, "nothing")
        if is_now != was:
            wrong.append(f"{path}: {name} is {is_now}, saved as {was}")
    return wrong


def zones(copy: Restored) -> Evidence:
    """Each zone is one, with its SOA and NS, and has the names of the fleet."""
    paths = [file.path for file in copy.wanted if file.type == "file" and file.path.startswith(f"{ZONES}/")]
    if not paths:
        raise NotJudged("the snapshot has no zone: none was read at a deploy")
    wrong = []
    names: dict[str, set[str]] = {}
    for path in sorted(paths):
        try:
            zone = json.loads(copy.sh('cat -- "$1"', f"{copy.root}/{path}"))
            name, records = str(zone["domain"]["domain"]), [(one["type"], one["name"]) for one in zone["records"]]
            if not zone["soa"] or ("NS", "") not in records:
                wrong.append(f"{path}: has no SOA, or no NS")
        except (ValueError, KeyError, TypeError) as error:
            wrong.append(f"{path}: is no zone: {error!r}")
            continue
        if path != f"{ZONES}/{name}.json":
            wrong.append(f"{path}: is the zone {name}")
        names[name] = {
            f"{label}.{name}" if label else name for kind, label in records if kind in ("A", "AAAA", "CNAME")
        }
    wanted = copy.names
    lacking = []
    for name in wanted:
        zone_of = max((zone for zone in names if f".{name}".endswith(f".{zone}")), key=len, default="")
        if zone_of and name not in names[zone_of]:
            lacking.append(name)
    if lacking:
        wrong.append(f"{counted(len(lacking), 'name')} of the fleet without an address: {some(lacking)}")
    if wrong:
        raise CheckFailed(*wrong)
    return Evidence((f"{counted(len(names), 'zone')} with SOA and NS, {counted(len(wanted), 'name')} of the fleet",))


def software(copy: Restored) -> Evidence:
    """The commands of the control side start there."""
    said = copy.sh('exec "$1" backup --help', MAINSTAY)
    missing = [word for word in ("status", "verify", "restore") if word not in said]
    if missing:
        raise CheckFailed(f"{MAINSTAY} backup --help: does not know {', '.join(missing)}")
    return Evidence((f"{MAINSTAY} starts",))


def keys(copy: Restored) -> Evidence:
    """The host's keys are those that this site is told of: that of its secrets, and that which other hosts let in."""
    script = f'exec env PYTHONPATH="$1:$1/packages" python3 -sPB - "$2" "$3" <<\'END\'\n{KEYS.strip()}\nEND\n'
    found = json.loads(copy.sh(script, SOFTWARE, HOLDS, ACCOUNT_KEYS))
    wrong = []
    if found["age"] != found["age_public"]:
        wrong.append(f"{HOLDS}/age_key: is not the key that secrets are encrypted to (control.age.pub)")
    if found["ssh_public"] and found["ssh"] not in found["ssh_public"]:
        wrong.append(f"{HOLDS}/ssh_key: is not the key that hosts let in ({ACCOUNT_KEYS})")
    if wrong:
        raise CheckFailed(*wrong)
    told = "the age key fits control.age.pub"
    return Evidence((f"{told}, the SSH key fits {ACCOUNT_KEYS}" if found["ssh_public"] else told,))

"""Whether the repositories that a restored Gerrit has are those that were saved: refs, objects, and large files (LFS).

git reads them on the host, several at once. What is compared with is the ref manifest in the snapshot itself.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from backup.agent import ref_manifest
from backup.agent.ref_manifest import Listed
from backup.agent.refs import RefsError
from backup.drills.checks import CheckFailed, Evidence, NotJudged, Restored
from backup.drills.on_host import python, some
from backup.sizes import counted
from roles.gerrit.asked import Api

GIT, SUFFIX = "site/git", ".git"
LFS = "site/data/lfs"
"""Where the plugin keeps large files, as aa/bb/SHA256 (its backend `fs`)."""
PARTS = 12
"""In so many drills all of them have been hashed."""
HOURS_S = 4 * 3600
PRELUDE = r"""
import concurrent.futures, hashlib, json, os, re, subprocess, sys
root = sys.argv[1]
env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
def git(path, *words, given=b""):
    words = ["git", "-c", "safe.directory=*", "-c", "core.commitGraph=false", "--git-dir", f"{root}/{path}", *words]
    return subprocess.run(words, env=env, input=given, capture_output=True)
def repositories():
    for folder, names, files in os.walk(f"{root}/site/git"):
        if "HEAD" in files and {"objects", "refs"} <= set(names):
            names[:] = []
            yield os.path.relpath(folder, root)
def refs(path):
    with open(f"{root}/{path}/HEAD", "rb") as file:
        lines = [b"HEAD " + file.read().strip()]
    done = git(path, "for-each-ref", "--format=%(refname) %(objectname) %(symref)")
    for line in sorted(done.stdout.splitlines()):
        name, value, to = line.split(b" ")
        lines.append(name + b" " + (b"ref: " + to if to else value))
    return lines
def each(look, paths):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(look, paths)))
"""
DIGESTS = f"""{PRELUDE}
print(json.dumps(each(lambda path: hashlib.sha256(b"\\n".join(refs(path))).hexdigest(), sorted(repositories()))))
"""
REFS = f"""{PRELUDE}
print(json.dumps({{path: [os.fsdecode(line) for line in lines] for path, lines in each(refs, sys.argv[2:]).items()}}))
"""
AHEAD = f"""{PRELUDE}
path, older, newer = sys.argv[2:]
print(json.dumps(git(path, "merge-base", "--is-ancestor", older, newer).returncode == 0))
"""
OBJECTS = rf"""{PRELUDE}
def look(path):
    done = git(path, "rev-list", "--objects", "--all", "--quiet")
    said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
    return [] if done.returncode == 0 else (said or [f"git rev-list ended with {{done.returncode}}"])[:3]
print(json.dumps(each(look, sorted(repositories()))))
"""
POINTERS = rf"""{PRELUDE}
lfs, turn, parts = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
VERSION = rb"version https://git-lfs\.github\.com/spec/v1\n"
POINTER = re.compile(VERSION + rb"(?:[^\n]*\n)*?oid sha256:([0-9a-f]{{64}})\nsize (\d+)\n")
def contents(path, ids):
    out, at = git(path, "cat-file", "--batch", given=b"".join(one + b"\n" for one in ids)).stdout, 0
    while at < len(out):
        head, _, _ = out[at:].partition(b"\n")
        size = int(head.split(b" ")[2])
        at += len(head) + 1
        yield out[at : at + size]
        at += size + 1
def look(path):
    found = {{}}
    for head in set(git(path, "for-each-ref", "--format=%(objectname)", "refs/heads/").stdout.split()):
        tree = git(path, "ls-tree", "-r", "-l", "-z", "--full-tree", head.decode()).stdout.split(b"\0")[:-1]
        files = [(*line.partition(b"\t")[0].split(), line.partition(b"\t")[2]) for line in tree]
        attributes = [one[2] for one in files if one[4].rpartition(b"/")[2] == b".gitattributes" and one[1] == b"blob"]
        if not any(b"filter=lfs" in text for text in contents(path, attributes)):
            continue
        small = [one[2] for one in files if one[1] == b"blob" and 100 < int(one[3]) < 1024]
        for match in map(POINTER.match, contents(path, dict.fromkeys(small))):
            if match:
                found[match[1].decode()] = int(match[2])
    return found
wrong, kept, hashed = [], {{}}, 0
for folder, _, names in os.walk(f"{{root}}/{{lfs}}"):
    for name in names:
        if re.fullmatch("[0-9a-f]{{64}}", name):
            kept[name] = path = os.path.join(folder, name)
            if int(name[:8], 16) % parts == turn % parts:
                hashed += 1
                with open(path, "rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != name:
                        wrong.append(f"{{os.path.relpath(path, root)}}: has another content than its name says")
pointers = each(look, sorted(repositories()))
for path, found in pointers.items():
    for name, size in sorted(found.items()):
        if name not in kept:
            wrong.append(f"{{path}}: a file is {{size}} bytes of {{name}}, which is not there")
        elif os.path.getsize(kept[name]) != size:
            wrong.append(f"{{path}}: a file is {{size}} bytes of {{name}}, which has {{os.path.getsize(kept[name])}}")
several = len(set().union(*pointers.values()))
print(json.dumps({{"wrong": wrong, "kept": len(kept), "hashed": hashed, "pointers": several}}))
"""


@cache
def _parsed(content: bytes) -> tuple[Listed, ...]:
    with TemporaryDirectory() as made:
        file = Path(made, ref_manifest.FILE)
        file.write_bytes(content)
        return tuple(ref_manifest.read(file))


def manifest(copy: Restored) -> dict[str, Listed]:
    """What the snapshot says of its repositories, by path below the root. Raises NotJudged, CheckFailed."""
    if ref_manifest.FILE not in {file.path for file in copy.saved}:
        raise NotJudged(f"the snapshot has no {ref_manifest.FILE}, which says what refs there were")
    try:
        return {one.path: one for one in _parsed(copy.read(ref_manifest.FILE)[0])}
    except RefsError as error:
        raise CheckFailed(str(error)) from None


def project(path: str) -> str:
    """What Gerrit calls the repository at a path."""
    return path.removeprefix(f"{GIT}/").removesuffix(SUFFIX)


def refs(copy: Restored) -> Evidence:
    """Every ref of every repository is as the manifest has it; the account of this drill may have a newer token."""
    known, wrong = manifest(copy), []
    found: dict[str, str] = python(copy, DIGESTS, copy.root, timeout_s=3600)
    wrong += [f"{path}: was broken when it was saved: {one.why}" for path, one in known.items() if one.why]
    whole = {path: one for path, one in known.items() if not one.why}
    wrong += [f"{path}: is not there" for path in sorted(whole.keys() - found.keys())]
    wrong += [f"{path}: was not there when the backup was made" for path in sorted(found.keys() - known.keys())]
    differ = [path for path, one in whole.items() if path in found and found[path] != _digest(one)]
    if differ:
        lines: dict[str, list[str]] = python(copy, REFS, copy.root, *differ[:100], timeout_s=600)
        wrong += [told for path in lines for told in _differences(copy, whole[path], lines[path])]
        wrong += [f"{path}: its refs are others" for path in differ[100:]]
    if wrong:
        raise CheckFailed(*wrong)
    total = sum(len(one.refs) for one in known.values())
    told = f"{counted(len(known), 'repository', 'repositories')} with {counted(total, 'ref')}, each as it was saved"
    return Evidence((told,), len(known), len(known))


def _lines(one: Listed) -> list[str]:
    return [f"HEAD {one.head}", *(f"{name} {value}" for name, value in one.refs.items())]


def _digest(one: Listed) -> str:
    head, *lines = (line.encode(errors="surrogateescape") for line in _lines(one))
    return hashlib.sha256(b"\n".join([head, *sorted(lines)])).hexdigest()


def _differences(copy: Restored, one: Listed, lines: list[str]) -> list[str]:
    was, now = (dict(line.split(" ", 1) for line in some_) for some_ in (_lines(one), lines))
    return [
        f"{one.path}: {name} is {now.get(name, 'nothing')}, saved as {was.get(name, 'nothing')}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name) and not _is_own(copy, one.path, name, was, now)
    ]


def _is_own(copy: Restored, path: str, name: str, was: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether it only went on, of the account that gets a token when a restored Gerrit is started."""
    if path != f"{GIT}/All-Users{SUFFIX}" or not {name} <= was.keys() & now.keys():
        return False
    own = Api.of(copy).get("/a/accounts/self")["_account_id"]
    if name not in (f"refs/users/{own % 100:02}/{own}", "refs/meta/external-ids"):
        return False
    return bool(python(copy, AHEAD, copy.root, path, was[name], now[name]))


def objects(copy: Restored) -> Evidence:
    """git finds every object that any ref of any repository leads to."""
    found: dict[str, list[str]] = python(copy, OBJECTS, copy.root, timeout_s=HOURS_S)
    if wrong := [f"{path}: {told}" for path, said in found.items() for told in said]:
        raise CheckFailed(*wrong)
    if not found:
        raise CheckFailed(f"there is no repository below {copy.root}/{GIT}")
    told = f"git finds all objects of {counted(len(found), 'repository', 'repositories')}"
    return Evidence((told,), len(found), len(found))


def large_files(copy: Restored) -> Evidence:
    """Each pointer in a branch has its file, of its size; and those whose turn it is have the content of their name."""
    found = python(copy, POINTERS, copy.root, LFS, str(copy.turn), str(PARTS), timeout_s=HOURS_S)
    if found["wrong"]:
        raise CheckFailed(*found["wrong"])
    told = [f"{counted(found['pointers'], 'pointer')} in branches, each with its file in {LFS}"]
    if "lfs" not in Api.of(copy).get("/a/plugins/"):
        told.append("no plugin serves them here: they were read on the host, and not fetched")
    within = PARTS if found["kept"] else 1
    return Evidence(tuple(told), found["hashed"], found["kept"], within)


def unlike(paths: "list[str]", what: str) -> list[str]:
    """Names that are missing or too many, as one line, if there are any."""
    return [f"{counted(len(paths), what)}: {some(sorted(paths))}"] if paths else []

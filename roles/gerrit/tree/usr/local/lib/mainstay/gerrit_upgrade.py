"""Brings Gerrit's site to another version, and back: `apply MOUNT VERSION`, `rollback MOUNT [lose]`, `mend MOUNT`,
`told MOUNT [lost]`, `facts URL`.

apply     The server ends, the volume is snapshot, the new version's init and reindex change the site, and a server of
          it beside the site is asked what the old one was asked before. If its answers agree, the service starts with
          it; if not, or if anything fails, the snapshot is put back and the old version starts.
mend      Before each start of the service: an upgrade that was killed is taken back.
rollback  Afterwards: puts the snapshot back. Refuses when anything was pushed or written since, unless `lose`.
told      How it stands, as JSON; `lost`: with the refs that a rollback would lose.
facts     What is compared of a server, which gets the token from standard input.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ACCOUNT, TOKEN = "mainstay", Path("/etc/gerrit/token")
URL = "http://127.0.0.1:8081/"
WARS = Path("/opt/gerrit")
HERE = Path("/usr/local/lib/mainstay")
VERSION, MARK = "etc/mainstay.version", "etc/mainstay.upgrading"
"""The version that the site is of; there while it is of none, which a start refuses."""
UNDONE = ("stopping", "changing", "putting back")
"""Steps after which, if nothing is at work, the old version is put back. The others: `starting`, `done`, `back`."""
NEWEST = 100
"""Changes that are compared, the last ones first."""
A_PAGE, ASK_S = 500, 120
LISTED = 20
LOSES = 4
"""Exit code of a rollback that would lose something."""


class Failed(Exception):
    """Why it cannot go on, in words."""


class Place:
    """The volume, with the site and what is noted of an upgrade."""

    def __init__(self, mount: Path) -> None:
        self.mount, self.site, self.own = mount, mount / "site", mount / "upgrade"
        self.before, self.refs = self.own / "before", self.own / "refs"

    @property
    def version(self) -> str:
        return (self.site / VERSION).read_text().strip()

    def told(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.own / "state.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def note(self, **values: Any) -> None:
        """On disk before anything that it speaks of is done."""
        told = self.told() | values
        print(json.dumps(values), flush=True)
        fresh = self.own / "state.json.new"
        with fresh.open("w") as file:
            file.write(json.dumps(told) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.own / "state.json")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Raises BlockingIOError while another one is at work."""
        self.own.mkdir(mode=0o700, exist_ok=True)
        with (self.own / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield


def apply(place: Place, version: str) -> None:
    old, war = place.version, WARS / f"gerrit-{version}.war"
    if old == version:
        raise Failed(f"the site is of {version} already")
    if not war.exists():
        raise Failed(f"{war} is not there: declare it as `upgrade` in [settings.gerrit], and deploy")
    try:
        before = facts(URL, TOKEN.read_text())
    except (OSError, ValueError) as error:
        raise Failed(f"the server does not answer, so that nothing can be compared with it: {error}") from None
    forget(place)
    place.note(step="stopping", old=old, new=version, begun=now(), ended=None, error=None, downtime_s=None)
    clock = time.monotonic()
    try:
        run("systemctl", "stop", "gerrit")
        run("btrfs", "-q", "subvolume", "snapshot", "-r", place.mount, place.before)
        place.note(step="changing")
        as_gerrit("touch", place.site / MARK)
        java = ("/usr/bin/java", "-Duser.home=/var/lib/gerrit", "-jar", war)
        as_gerrit(*java, "init", "--batch", "--no-auto-start", "--skip-plugins", "-d", place.site)
        as_gerrit(*java, "reindex", "-d", place.site)
        compare(before, asked_beside(place, version), refs(place.before / "site"), refs(place.site))
        place.refs.write_text(json.dumps(refs(place.site)))
        as_gerrit("sh", "-c", 'echo "$1" >"$2"', "sh", version, place.site / VERSION)
        (place.site / MARK).unlink()
        place.note(step="starting")
        run("systemctl", "start", "gerrit")
    except (Failed, OSError, ValueError, LookupError) as error:
        place.note(error=str(error))
        put_back(place)
        run("systemctl", "start", "gerrit")
        place.note(step="back", ended=now(), downtime_s=round(time.monotonic() - clock, 1))
        raise Failed(f"{old} runs again, as it was: {error}") from None
    place.note(step="done", ended=now(), downtime_s=round(time.monotonic() - clock, 1))


def rollback(place: Place, *, lose: bool) -> None:
    told = place.told()
    if told.get("step") not in ("starting", "done"):
        raise Failed("there is no upgrade to take back")
    if not lose and (found := lost(place)):
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        print(f"since the upgrade {len(found)} refs were written: {', '.join(found[:LISTED])}{more}", file=sys.stderr)
        sys.exit(LOSES)
    clock = time.monotonic()
    run("systemctl", "stop", "gerrit")
    put_back(place)
    run("systemctl", "start", "gerrit")
    place.note(step="back", ended=now(), downtime_s=round(time.monotonic() - clock, 1))
    forget(place)


def mend(place: Place) -> None:
    try:
        with place.alone():
            if place.told().get("step") in UNDONE:
                print(f"an upgrade to {place.told()['new']} was broken off: {place.told()['old']} is put back")
                put_back(place)
                place.note(step="back", ended=now(), error="it was broken off")
    except BlockingIOError:
        pass  # it is the upgrade that starts the service


def lost(place: Place) -> list[str]:
    """Refs that a rollback would take back, as REPOSITORY:REF."""
    was, there = json.loads(place.refs.read_text()), refs(place.site)
    return [
        f"{name}:{ref}"
        for name in sorted(was.keys() | there.keys())
        for ref in sorted(was.get(name, {}).keys() | there.get(name, {}).keys())
        if was.get(name, {}).get(ref) != there.get(name, {}).get(ref)
    ]


def put_back(place: Place) -> None:
    """The site as of the snapshot, in the place of what is there, by one exchange of two folders."""
    if not place.before.exists():
        return  # it was not changed yet
    place.note(step="putting back")
    back = place.own / "back"
    if back.exists():
        shutil.rmtree(back)
    run("cp", "-a", "--reflink=always", place.before / "site", back)
    run("sync", "-f", place.mount)
    run("mv", "--exchange", "-T", back, place.site)
    shutil.rmtree(back)


def forget(place: Place) -> None:
    """The snapshot of an earlier upgrade."""
    if place.before.exists():
        run("btrfs", "-q", "subvolume", "delete", "--commit-after", place.before)
    place.refs.unlink(missing_ok=True)


def refs(site: Path) -> dict[str, dict[str, str]]:
    """Of every repository, by name."""
    git = site / "git"
    found = sorted(path for path in git.glob("**/*.git") if (path / "HEAD").exists())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip((str(path.relative_to(git)) for path in found), pool.map(refs_of, found), strict=True))


def refs_of(repository: Path) -> dict[str, str]:
    words = ["git", "-c", "safe.directory=*", "--git-dir", str(repository), "for-each-ref"]
    words.append("--format=%(refname) %(objectname)")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{repository}: {done.stderr.strip()}")
    return dict(line.split(" ") for line in done.stdout.splitlines())


def asked_beside(place: Place, version: str) -> dict[str, Any]:
    """What a server of that version says, which nobody else can reach."""
    own = ("python3", "-I", HERE / "gerrit_upgrade.py", "facts")
    words = ("python3", "-I", HERE / "gerrit_account.py", "beside", place.site, version, *own)
    said = as_gerrit(*words, given=TOKEN.read_text())
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def facts(url: str, token: str) -> dict[str, Any]:
    """What has to be the same before and after, by the account of admins' programs."""
    login = b64encode(f"{ACCOUNT}:{token.strip()}".encode()).decode()

    def ask(path: str) -> Any:
        request = urllib.request.Request(f"{url}a/{path}", headers={"Authorization": f"Basic {login}"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=ASK_S) as answer:  # noqa: S310  # it is our own
            return json.loads(answer.read().split(b"\n", 1)[1])

    def pages(path: str, more: str) -> list[Any]:
        found: list[Any] = []
        while True:
            page = ask(f"{path}&n={A_PAGE}&S={len(found)}")
            found += page
            if not page or not page[-1].get(more):
                return found

    newest = ask(f"changes/?q=-is:new+OR+is:new&o=CURRENT_REVISION&n={NEWEST}")
    return {
        "projects": sorted(ask("projects/?all")),
        "groups": {name: one["id"] for name, one in ask("groups/").items()},
        "accounts": sorted(one["_account_id"] for one in pages("accounts/?q=is:active", "_more_accounts")),
        "open changes": sorted(one["_number"] for one in pages("changes/?q=is:open", "_more_changes")),
        "newest changes": {
            str(one["_number"]): [one["status"], one["subject"], one.get("current_revision")] for one in newest
        },
    }


def compare(before: dict[str, Any], after: dict[str, Any], was: dict[str, Any], there: dict[str, Any]) -> None:
    """Raises Failed when the new version has not all that the old one had. Its own refs may change with the version."""
    for what, wanted in before.items():
        if after.get(what) != wanted:
            raise Failed(f"the new version answers otherwise: {what} {differing(wanted, after.get(what))}")
    for name in was:
        kept = {ref: one for ref, one in was[name].items() if not ref.startswith(("refs/meta/", "refs/sequences/"))}
        gone = [ref for ref, one in kept.items() if there.get(name, {}).get(ref) != one]
        if gone and name not in ("All-Users.git", "All-Projects.git"):
            raise Failed(f"the new version has changed {name}: {', '.join(gone[:LISTED])}")


def differing(wanted: Any, found: Any) -> str:
    if isinstance(wanted, dict) and isinstance(found, dict):
        return ", ".join(
            sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))[:LISTED]
        )
    if isinstance(wanted, list) and isinstance(found, list):
        return ", ".join(str(one) for one in sorted({*wanted} ^ {*found}, key=str)[:LISTED])
    return "have no answer"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def as_gerrit(*words: Any, given: str = "") -> str:
    return run("runuser", "-u", "gerrit", "--", "env", "HOME=/var/lib/gerrit", *words, given=given)


def run(*words: Any, given: str = "") -> str:
    """Raises Failed with what it said."""
    done = subprocess.run([*map(str, words)], input=given, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, words[:4]))} ...: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def main() -> None:
    match sys.argv[1:]:
        case ["apply", mount, version]:
            place = Place(Path(mount))
            with place.alone():
                apply(place, version)
        case ["rollback", mount, *rest]:
            place = Place(Path(mount))
            with place.alone():
                rollback(place, lose=rest == ["lose"])
        case ["mend", mount]:
            mend(Place(Path(mount)))
        case ["told", mount, *rest]:
            place = Place(Path(mount))
            told = place.told() | {"version": place.version}
            if rest == ["lost"] and place.refs.exists():
                told["lost"] = lost(place)
            print(json.dumps(told))
        case ["facts", url]:
            print(json.dumps(facts(url, sys.stdin.read())))
        case _:
            sys.exit(__doc__)


def ended(signal_: int, _: Any) -> None:
    raise Failed(f"it was ended by {signal.Signals(signal_).name}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, ended)
    try:
        main()
    except Failed as error:
        sys.exit(f"{error}")
    except BlockingIOError:
        sys.exit("another upgrade is at work")

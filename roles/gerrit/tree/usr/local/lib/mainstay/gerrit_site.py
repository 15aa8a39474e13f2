"""What a Gerrit site needs before its server starts, and at its end: `prepare SITE WAR`, `answers URL`, `ended SITE`.

prepare  a site that is not there yet is made; where the server did not end in order, caches are removed, since H2's may
         be broken then, and the lock files of refs, since nobody else would; an index that is not there is built anew.
         Refuses another version than the site's own. Plugins that are not declared go. A site without an index was
         restored: nothing goes out of it before the next deploy.
answers  waits until the server does.
ended    notes that it ended in order, if it did.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

VERSION, RUNS = "etc/mainstay.version", "etc/mainstay.runs"
"""The version that the site is of; there while a server runs."""
DECLARED = Path("/etc/gerrit/declared.json")
"""`outgoing`, and `plugins` by name, each with `version` and `sends`."""


def java(war: str, *words: str) -> None:
    subprocess.run(["/usr/bin/java", "-Duser.home=/var/lib/gerrit", "-jar", war, *words], check=True)


def prepare(site: Path, war: str) -> None:
    found = re.search(r"gerrit-([\d.]+)\.war$", war)
    assert found
    version, own = found[1], site / VERSION
    restored = own.exists() and not indexed(site)
    if not own.exists():
        if (site / "git").exists() and any((site / "git").iterdir()) and not (site / "git/All-Projects.git").exists():
            sys.exit(f"{site}/git holds repositories, but not All-Projects: restore that, or move them away")
        java(war, "init", "--batch", "--no-auto-start", "--skip-plugins", "-d", str(site))
        own.write_text(version + "\n")
    elif (has := own.read_text().strip()) != version:
        sys.exit(f"the site is of Gerrit {has}, and {version} is declared: a deploy does not change it")
    if (site / RUNS).exists():
        print("the server did not end in order: its caches are made anew")
        shutil.rmtree(site / "cache", ignore_errors=True)
        unlock(site / "git")
    hold(site, json.loads(DECLARED.read_text()), restored)
    if not indexed(site):
        java(war, "reindex", "-d", str(site))
    (site / RUNS).touch()


def indexed(site: Path) -> bool:
    return (site / "index").is_dir() and any((site / "index").iterdir())


def hold(site: Path, declared: dict[str, Any], restored: bool) -> None:
    """Takes away what must not be there, whatever a backup brought."""
    keep = {f"{name}.jar" for name, one in declared["plugins"].items() if not (restored and one["sends"])}
    for jar in (site / "plugins").glob("*"):
        if jar.is_file() and jar.name not in keep and jar.suffix != ".new":
            print(f"{jar.name} is not declared, and goes" if not restored else f"{jar.name} goes until the next deploy")
            jar.unlink()
    if restored or not declared["outgoing"]:
        config = ["git", "config", "--file", str(site / "etc/gerrit.config")]
        found = subprocess.run(
            [*config, "--type=bool", "sendemail.enable"], capture_output=True, text=True, check=False
        )
        if found.stdout.strip() != "false":
            print("no mail is sent until the next deploy")
            subprocess.run([*config, "--replace-all", "sendemail.enable", "false"], check=True)


def unlock(git: Path) -> None:
    """Removes what would keep everybody from writing refs: a repository's *.lock, its own and below refs/."""
    for folder, names, files in os.walk(git):
        if "objects" in names:
            names[:] = ["refs"]
        for name in files:
            if name.endswith(".lock"):
                print(f"removed {folder}/{name}, which the server left")
                Path(folder, name).unlink()


def answers(url: str) -> None:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # it is the unit's own
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.2)


def ended(site: Path) -> None:
    if os.environ.get("SERVICE_RESULT") == "success":
        (site / RUNS).unlink(missing_ok=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", site, war]:
            prepare(Path(site), war)
        case ["answers", url]:
            answers(url)
        case ["ended", site]:
            ended(Path(site))
        case _:
            sys.exit(__doc__)

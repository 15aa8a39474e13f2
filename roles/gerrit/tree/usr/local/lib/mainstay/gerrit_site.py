"""What a Gerrit site needs before its server starts, while it runs, and at its end: `prepare SITE`, `run SITE JAVA...`,
`answers URL`, `ended SITE`.

prepare  A site that is not there yet is made; where the server did not end in order, caches are removed, since H2's may
         be broken then, and the lock files of refs, since nobody else would; an index that is not there is built anew.
         Refuses a site of a version that is not declared. Puts the plugins of its version in their place, and no
         other. A site without an index was restored: nothing goes out of it before the next deploy.
run      Becomes the server, of the version that the site is of.
answers  Waits until the server does.
ended    Notes that it ended in order, if it did.
"""

import filecmp
import json
import os
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
UPGRADING, RESTORED = "etc/mainstay.upgrading", "restored/silent"
"""There while the site is of no version; from a restore to the next deploy."""
DECLARED = Path("/etc/gerrit/declared.json")
"""`outgoing`, and `versions`, that of a new site first, each with `plugins` by name with `version` and `sends`."""
WARS = Path("/opt/gerrit")
LOGGING = (
    "-Dflogger.backend_factory=com.google.common.flogger.backend.log4j.Log4jBackendFactory#getInstance",
    "-Dflogger.logging_context=com.google.gerrit.server.logging.LoggingContext#getInstance",
)


def java(version: str, *words: str) -> None:
    subprocess.run([*program(version), *words], check=True)


def program(version: str) -> list[str]:
    return ["/usr/bin/java", "-Duser.home=/var/lib/gerrit", "-jar", str(WARS / f"gerrit-{version}.war")]


def prepare(site: Path) -> None:
    declared, own = json.loads(DECLARED.read_text()), site / VERSION
    if (site / UPGRADING).exists():
        sys.exit("an upgrade is under way: `mainstay gerrit upgrade status`")
    if not own.exists():
        if (site / "git").exists() and any((site / "git").iterdir()) and not (site / "git/All-Projects.git").exists():
            sys.exit(f"{site}/git holds repositories, but not All-Projects: restore that, or move them away")
        first = next(iter(declared["versions"]))
        java(first, "init", "--batch", "--no-auto-start", "--skip-plugins", "-d", str(site))
        own.write_text(first + "\n")
    elif not indexed(site):
        (site / RESTORED).parent.mkdir(exist_ok=True)
        (site / RESTORED).touch()
    version = own.read_text().strip()
    if version not in declared["versions"]:
        others = " and ".join(declared["versions"])
        sys.exit(f"the site is of Gerrit {version}, and {others} is declared: a deploy does not change it")
    if (site / RUNS).exists():
        print("the server did not end in order: its caches are made anew")
        shutil.rmtree(site / "cache", ignore_errors=True)
        unlock(site / "git")
    settle(site, declared, version)
    if not indexed(site):
        java(version, "reindex", "-d", str(site))
    (site / RUNS).touch()


def run(site: Path, *options: str) -> None:
    java, *words = program((site / VERSION).read_text().strip())
    os.execv(java, [java, *options, *LOGGING, *words, "daemon", "-d", str(site), "--console-log"])  # noqa: S606


def indexed(site: Path) -> bool:
    return (site / "index").is_dir() and any((site / "index").iterdir())


def settle(site: Path, declared: dict[str, Any], version: str) -> None:
    """What goes out of the site is what is declared, and nothing where it was restored, whatever a backup brought."""
    silent = (site / RESTORED).exists() or not declared["outgoing"]
    known = declared["versions"][version]["plugins"]
    plugins(site, version, [name for name, one in known.items() if not (silent and one["sends"])])
    if silent:
        no_mail(site)


def plugins(site: Path, version: str, names: list[str]) -> None:
    """These are there, and no other."""
    folder = site / "plugins"
    folder.mkdir(exist_ok=True)
    for name in names:
        jar, source = folder / f"{name}.jar", WARS / version / f"{name}.jar"
        if not jar.exists() or not filecmp.cmp(source, jar, shallow=False):
            shutil.copyfile(source, fresh := jar.with_suffix(".new"))
            fresh.replace(jar)
    for jar in folder.iterdir():
        if jar.is_file() and jar.name not in {f"{name}.jar" for name in names}:
            print(f"the plugin {jar.name} is not to be there now, and goes")
            jar.unlink()


def no_mail(site: Path) -> None:
    config = ["git", "config", "--file", str(site / "etc/gerrit.config")]
    found = subprocess.run([*config, "--type=bool", "sendemail.enable"], capture_output=True, text=True, check=False)
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
        case ["prepare", site]:
            prepare(Path(site))
        case ["run", site, *options]:
            run(Path(site), *options)
        case ["answers", url]:
            answers(url)
        case ["ended", site]:
            ended(Path(site))
        case _:
            sys.exit(__doc__)

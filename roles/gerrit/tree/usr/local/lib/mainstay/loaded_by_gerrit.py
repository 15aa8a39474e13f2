"""What differs between the plugins that are declared and those that Gerrit has loaded, a line each: `URL ACCOUNT`."""

import json
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

DECLARED, TOKEN = Path("/etc/gerrit/declared.json"), Path("/etc/gerrit/token")


def differences(declared: dict[str, Any], loaded: dict[str, Any]) -> list[str]:
    """declared: as /etc/gerrit/declared.json has them; loaded: as Gerrit answers `GET /plugins/?all`."""
    there = {name: one.get("version", "") for name, one in loaded.items() if not one.get("disabled")}
    found = []
    for name, one in sorted(declared.items()):
        if name not in there:
            found.append(
                f"the plugin {name} {one['version']} is declared, and not loaded: `journalctl -u gerrit` says why"
            )
        elif there[name] != one["version"]:
            found.append(
                f"the plugin {name} is loaded as {there[name] or 'no version'}, and {one['version']} is declared"
            )
    return found + [f"the plugin {name} is loaded, and not declared" for name in sorted(there.keys() - declared.keys())]


def ask(url: str, account: str, path: str) -> Any:
    login = b64encode(f"{account}:{TOKEN.read_text().strip()}".encode()).decode()
    request = urllib.request.Request(f"{url}/a/{path}", headers={"Authorization": f"Basic {login}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # it is the host's own
        return json.loads(answer.read().decode().removeprefix(")]}'"))


def look(url: str, account: str) -> list[str]:
    """One that is just being started, say after a boot, is waited for."""
    while True:
        try:
            declared = json.loads(DECLARED.read_text())["versions"][ask(url, account, "config/server/version")]
            return differences(declared["plugins"], ask(url, account, "plugins/?all"))
        except OSError:
            words = ["systemctl", "is-active", "gerrit.service"]
            if subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() != "activating":
                raise
        time.sleep(1)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        lines = look(*sys.argv[1:])
    except (OSError, ValueError, LookupError) as error:
        lines = [f"Gerrit does not say which plugins it has: {error}"]
    print(*lines, sep="\n", end="\n" if lines else "")

"""Which services still run code that has since been replaced on disk: /var/lib/mainstay/stale-services.json.

{"checked_at": Unix seconds, "reboot_required": bool, "services": {unit: [replaced files]}}. A process maps the program
and libraries it was started with; proc(5): a path in /proc/PID/maps ends with ` (deleted)` once it is gone, which a
replaced file is, since dpkg renames the new one over it.
"""

import json
import re
import time
from pathlib import Path

REPORT = Path("/var/lib/mainstay/stale-services.json")
CODE = re.compile(r"\S+ r-xp \S+ \S+ \d+ +(/(?:usr|lib|lib64|bin|sbin|opt)/.*) \(deleted\)$")
UNIT = re.compile(r"/([^/]+\.(?:service|scope))(?:/|$)")


def replaced_code(maps: str) -> set[str]:
    """Programs and libraries in the text of a maps file that are no longer on disk as they were."""
    return {match[1] for match in map(CODE.match, maps.splitlines()) if match}


def unit_of(cgroup: str) -> str:
    """The outermost unit in the text of a cgroup file: the line of systemd's own hierarchy, v1 or v2."""
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd") and (match := UNIT.search(path)):
            return match[1]
    return ""


def stale_services() -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            code = replaced_code((process / "maps").read_text(errors="replace"))
            unit = unit_of((process / "cgroup").read_text()) or ("init.scope" if process.name == "1" else "")
        except OSError:
            continue
        if code and unit:
            found.setdefault(unit, set()).update(code)
    return {unit: sorted(files) for unit, files in sorted(found.items())}


def main() -> None:
    report = {
        "checked_at": int(time.time()),
        "reboot_required": Path("/run/reboot-required").exists(),
        "services": stale_services(),
    }
    fresh = REPORT.with_suffix(".new")
    fresh.write_text(json.dumps(report, indent=1) + "\n")
    fresh.rename(REPORT)


if __name__ == "__main__":
    main()

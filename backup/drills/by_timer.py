"""The control host's units for drills: whether they ended as no report of a drill can tell."""

import subprocess
from collections.abc import Iterator

from backup import custody
from backup.data_set import Finding, Kind, Subject
from backup.drills.report import Outcome
from inventories.inventory import LoadedSite

MEANING = {
    "drill": "not every drill could be begun",
    "sweep": "what drills that died have left cannot be removed, and costs money",
}
"""What it means that the unit failed, by its name."""
REPORTED = {str(one.code) for one in Outcome}
"""Exit codes of drills whose reports say why: what they found is a finding of their data sets."""
PROPERTIES = ("ActiveState", "ActiveEnterTimestamp", "UnitFileState", "Result", "ExecMainStatus")
ASK = ("systemctl", "show", "--timestamp=unix", f"--property={','.join(PROPERTIES)}")
ASK_S = 30


def failed(site: LoadedSite) -> Iterator[Finding]:
    """What went wrong with them, as findings of the record's own data set. Only the control host can know."""
    for kind, meaning in MEANING.items():
        unit = f"mainstay-control@{kind}.service"
        said = ask(unit)
        if said.get("ActiveState") != "failed":
            continue
        if said.get("Result") == "exit-code" and said.get("ExecMainStatus") in REPORTED:
            continue
        name = custody.control_host(site)
        how = f"{said.get('Result')}, status {said.get('ExecMainStatus')}"
        to_do = f"On {name}: `journalctl -u {unit}`; once mended, `systemctl start {unit}`."
        what = f"{unit} failed ({how}): {meaning}"
        yield Finding(Kind.NOT_DRILLED, name, custody.CONTROL_ROLE, what, to_do, Subject(f"unit {kind}"))


def ask(unit: str) -> dict[str, str]:
    """Properties of a unit by name; none where systemd cannot be asked, whose hosts then have worse findings."""
    try:
        done = subprocess.run([*ASK, unit], capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

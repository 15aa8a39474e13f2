"""How it is proved that a restored control host works, and the faults that prove the proof."""

import re

from backup.agent.refs import MANIFEST
from backup.drills import common_checks, damage
from backup.drills.checks import Check, Drill, Fault, File, Restored
from backup.drills.on_host import tops
from roles.control import restored
from roles.control.restored import MIRRORS

OBJECTS = re.compile(r"/objects/(pack/.*\.pack|[0-9a-f]{2}/[0-9a-f]+)$")
NEW_KEY = """set -eu; umask 077
PYTHONPATH="$2:$2/packages" python3 -sPBc "$3" >"$1.other"
cat "$1.other" >"$1"
rm "$1.other"
"""
MAKE_AGE = "from inventories.keys import new_age; print(new_age())"
MAKE_SSH = "from inventories.keys import new_ssh; print(new_ssh(), end='')"

CHECKS = (
    common_checks.FILES,
    common_checks.owned_by("control"),
    common_checks.STALE,
    Check(
        "ledgers",
        "the record of all backups is whole, and the one that was kept",
        "its own chain of hashes, and the record on the control side",
        restored.ledgers,
    ),
    Check(
        "mirrors",
        "every mirror has all its objects, and the refs of when the backup began",
        "git fsck, and the list of refs in the snapshot",
        restored.mirrors,
        limit_s=3600,
    ),
    Check("zones", "the DNS zones can be read, and know the fleet", "the inventory on the host", restored.zones),
    Check("software", "the control side's commands start", "what they say they can do", restored.software),
    Check("keys", "the host holds its own keys", "the public halves that the site gives out", restored.keys),
)


def _ledger(copy: Restored) -> str:
    return _largest(restored.listed_ledgers(copy), "a ledger")


def _objects(copy: Restored) -> str:
    below = [file for file in copy.wanted if file.type == "file" and file.path.startswith(f"{MIRRORS}/")]
    return _largest([file for file in below if OBJECTS.search(file.path)], "a mirror with objects")


def _largest(files: list[File], what: str) -> str:
    return damage.first(sorted(files, key=lambda file: (-file.size, file.path)), what).path


def _set_back(copy: Restored) -> str:
    return "; ".join(damage.set_back(copy, folder) for folder in tops(copy) if folder != MANIFEST)


def _age_key(copy: Restored) -> str:
    copy.sh(NEW_KEY, f"{restored.HOLDS}/age_key", restored.SOFTWARE, MAKE_AGE)
    return "the age key is another's"


def _ssh_key(copy: Restored) -> str:
    copy.sh(NEW_KEY, f"{restored.HOLDS}/ssh_key", restored.SOFTWARE, MAKE_SSH)
    return "the SSH key is another's"


FAULTS = (
    Fault("missing file", "files", lambda copy: damage.remove(copy, _ledger(copy))),
    Fault("flipped byte", "ledgers", lambda copy: damage.flip(copy, _ledger(copy))),
    Fault("flipped byte in a mirror", "mirrors", lambda copy: damage.flip(copy, _objects(copy))),
    Fault("stale snapshot", "stale", _set_back),
    Fault("wrong owner", "owners", lambda copy: damage.give_away(copy, _ledger(copy))),
    Fault("empty directory", "files", lambda copy: damage.empty(copy, _ledger(copy).rpartition("/")[0])),
    Fault("wrong key", "keys", _age_key),
    Fault("wrong SSH key", "keys", _ssh_key),
)
DRILL = Drill(CHECKS, FAULTS, budget_s={"restore": 900, "checks": 900}, quiet={"mirrors": {}, "zones": False})

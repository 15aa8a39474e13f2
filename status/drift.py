"""What hosts noticed of themselves: each compares itself daily with what its last deploy left (roles/base/drifting/).

`mainstay drift` compares with what is declared, and shows lines; this is what is known without it.
"""

from datetime import UTC, datetime

from backup.audited import listed
from backup.rules import ago
from backup.sizes import clean, counted
from inventories.inventory import LoadedSite
from roles.base.deployed import Deployed
from status.asked import Answer, answers
from status.deploys import applies, deployed
from status.host import WITHIN, Drift, Said
from status.told import Finding, Row, Seen, Source, Table, state, warning

LABELS = ("host", "looked", "as deployed", "differs", "state")
RUNBOOK = "docs/runbooks/drift-found.md"
FINISHED = "finished"


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises InputError where it is not clear who I am."""
    said = answers(site, now)
    last = deployed(said)
    return together({name: (one.said, last.get(name)) for name, one in said.items() if isinstance(one, Answer)})


def together(told: dict[str, tuple[Said, Deployed | None]]) -> Seen:
    """Findings, and a row of each host that answered, with its last deploy."""
    rows, findings = [], []
    for name, (said, deploy) in sorted(told.items()):
        now, found = _at(said.time), said.drift if _counts(said.drift, deploy) else None
        own = [*filter(None, [_differs(name, found), _overdue(name, said, deploy, now)])]
        rows.append(Row(clean(name), [*_cells(said.drift, found, deploy, now), state(own)], _data(said.drift, found)))
        findings += own
    return Seen(findings, [Table("drift", "What hosts noticed of themselves", LABELS, rows)])


def _counts(drift: Drift | None, deploy: Deployed | None) -> bool:
    """Whether it was seen after the last deploy, which came to its end."""
    return bool(drift and deploy and deploy.result == FINISHED and drift.remembered >= (deploy.ended or 0))


def _differs(name: str, drift: Drift | None) -> Finding | None:
    if not drift or not drift.findings:
        return None
    many = counted(len(drift.findings), "thing")
    things = listed([f"{one.what} ({one.why})" for one in drift.findings])
    be = "is" if len(drift.findings) == 1 else "are"
    return warning(name, "drift", f"{many} {be} not as the last deploy left it: {things}", RUNBOOK)


def _overdue(name: str, said: Said, deploy: Deployed | None, now: datetime) -> Finding | None:
    """A host looks after each deploy, and then daily; not while it is down, nor before its deploy came to its end."""
    if deploy is None or deploy.result != FINISHED or deploy.ended is None:
        return None
    last = said.drift.looked if said.drift else 0
    due = max(last, deploy.ended, said.booted or 0)
    if now - _at(due) <= WITHIN:
        return None
    when = f"looked at itself last {ago(_at(last), now)}" if last else "has never looked at itself"
    to_do = f"`mainstay ssh {name} sudo systemctl start mainstay-drift`; `journalctl -u mainstay-drift` there. "
    return warning(name, "look overdue", f"it {when}", f"{to_do}An older deploy knows of no look: deploy it again.")


def _cells(
    drift: Drift | None, counted_: Drift | None, deploy: Deployed | None, now: datetime
) -> list[tuple[str, str]]:
    looked = ago(_at(drift.looked), now) if drift else "never"
    if counted_:
        words = (ago(_at(counted_.remembered), now), str(len(counted_.findings) or "nothing"))
    else:
        why = f"its deploy {deploy.result}" if deploy and deploy.result != FINISHED else "not looked since"
        words = (why if deploy else "never deployed", "?")
    return [(word, "") for word in (looked, *words)]


def _data(drift: Drift | None, counted_: Drift | None) -> dict[str, object]:
    return {
        "looked": drift.looked if drift else None,
        "remembered": drift.remembered if drift else None,
        "findings": [one.model_dump() for one in counted_.findings] if counted_ else None,
    }


def _at(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)


SOURCE = Source("drift", "Drift", "mainstay drift", applies, look)

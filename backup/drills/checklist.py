"""What remains to be done by people when the whole site is really lost: a list to tick off, with measured times."""

from pathlib import Path

from backup.drills import book
from backup.drills.report import RTO_PHASES, Report
from inventories.files import replace
from inventories.inventory import LoadedSite

NAME = "checklist.md"
WORDS = {
    "host": "the provider makes hosts, volumes, networks and names",
    "packages": "packages are installed",
    "deploy": "all roles are deployed",
    "restore": "the new vault is filled from the second copy, and every host from the vault",
    "start": "the second deploy puts owners, services and ledgers right",
    "checks": "everything is checked",
}


def write(site: LoadedSite, report: Report) -> Path:
    """Puts the list beside the report; returns its file."""
    path = book.folder(site) / report.id / NAME
    replace(path, text(site, report), 0o644)
    return path


def text(site: LoadedSite, report: Report) -> str:
    """The list. Times are those of this drill."""
    took = {run.name: run.seconds for run in report.phases}
    measured = [f"| {WORDS[name]} | {_minutes(took[name])} |" for name in RTO_PHASES if name in took]
    names = sorted({dns for host in site.fleet.hosts.values() for dns in host.dns})
    inventory = site.path.with_suffix(".py").name
    lines = [
        f"# If {site.name} is lost",
        "",
        f"From the drill {report.id} of {report.begun:%Y-%m-%d %H:%M} UTC, which ended as `{report.outcome}`.",
        "What machines did then, they do again; what stands in boxes is for people.",
        "",
        "| what | took |",
        "|---|---|",
        *measured,
        f"| in all | {_minutes(report.rto_seconds or 0)} |",
        "",
        "## Before",
        "- [ ] Decide that it is lost, and who leads. Write down when: everything after the last copy is lost with it.",
        "- [ ] Who announces it, where? The website is down with the rest: a second channel must be known beforehand.",
        "- [ ] An account at the provider that works, with its API key: `mainstay secrets edit`, `vultr_api_key`.",
        "- [ ] A clone, your key, and the keys of the second copy (`copy_admin_access_key` and its like) can be read:",
        f"      `mainstay secrets show copy_access_key --inventory inventories/{inventory}`.",
        "- [ ] If the region is lost too: another `region` for hosts and networks in the inventory.",
        "- [ ] The lock file knows what is no more: `deploys/provision.py --dry` says what it would make. Read it.",
        "",
        "## Rebuild",
        f"- [ ] `pyinfra inventories/{inventory} deploys/provision.py`, then commit `lock.json`.",
        f"- [ ] `pyinfra inventories/{inventory} deploys/site.py`",
        "- [ ] `mainstay backup rebuild`: the vault, from the second copy.",
        "- [ ] Each data set: docs/runbooks/restore-a-whole-data-set.md; the control host's first.",
        "- [ ] `mainstay backup settle`; `accept` for what was not in the copy: docs/runbooks/vault-lost.md.",
        f"- [ ] `pytest tests/roles --inventory inventories/{inventory}`, then `mainstay drill run --all`.",
        "",
        "## Names and certificates",
        f"- [ ] The domain {site.fleet.site.domain} leads to the provider's name servers: ask the registrar.",
        f"- [ ] Provisioning set {', '.join(names) or 'no names'}: `dig` each from outside; caches hold old addresses "
        "for 2 minutes.",
        "- [ ] Certificates come from the authority again: mind its limits of issuance a week.",
        "",
        "## After",
        f"- [ ] Announce: what is lost is what came after {_taken(report)}.",
        "- [ ] New passwords for whatever the lost hosts knew, if they may have been taken and not only lost.",
        "- [ ] Write down what was not on this list.",
        "",
    ]
    return "\n".join(lines)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _taken(report: Report) -> str:
    return f"{report.source.taken:%Y-%m-%d %H:%M} UTC" if report.source else "the last copy"

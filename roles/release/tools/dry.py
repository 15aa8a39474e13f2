"""What a publication would do, asked of the servers that it goes to; nothing is changed."""

from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff

from roles.common.publishing.hearing import Hearing
from roles.common.publishing.servers import session
from roles.release.tools.offers import lines
from roles.release.tools.publication import Publication
from roles.release.tools.publish import METADATA, PROGRAM, Site, judge_clock, judge_lines, promised, to_come


@dataclass(frozen=True)
class Would:
    """On one server. files and bytes: what would be uploaded; free: bytes; lacks: what else it would have to hold;
    refuses: why it would take none of it."""

    name: str
    files: int = 0
    bytes: int = 0
    free: int = 0
    lacks: tuple[str, ...] = ()
    refuses: str = ""


@dataclass(frozen=True)
class Dry:
    """message: of the commit; diff: of the metadata, empty when nothing changes."""

    servers: tuple[Would, ...]
    message: str
    diff: str

    @property
    def would_pass(self) -> bool:
        return not any(one.refuses or one.lacks for one in self.servers)


def dry(site: Site, what: Publication, who: str, now: datetime, hear: Hearing) -> Dry:
    """Raises as `publish` does, but for a server that refuses: that is told."""
    hear.step("look")
    base = site.metadata.fetch()
    files = site.metadata.files(base, METADATA)
    judge_lines(what, lines(files))
    after = files | {path: text.encode() for path, text in what.metadata.items()}
    sizes = {one.path: one.size for one in what.packages}
    servers = []
    for place in site.places:
        with session(place, PROGRAM) as to:
            told = to.ask("status")
            judge_clock(now, told["time"], place.name)
            lacks = to.ask("lacks", paths=promised(told["commit"], site, after))["lacks"]
            plan = to.ask_whether("plan", manifest=what.manifest(who, "", base))
        if isinstance(plan, str):
            servers.append(Would(place.name, free=told["free"], refuses=plan))
            continue
        left = to_come(plan, sizes)
        servers.append(
            Would(
                place.name,
                sum(1 for count in left.values() if count),
                sum(left.values()),
                told["free"],
                tuple(path for path in lacks if path not in sizes),
            )
        )
    return Dry(tuple(servers), what.message(lines(files)), diff(files, after))


def diff(before: dict[str, bytes], after: dict[str, bytes]) -> str:
    """Of all files, as git shows it."""
    found: list[str] = []
    for path in sorted(after):
        if before.get(path) != after[path]:
            old, new = ((one.get(path, b"").decode(errors="replace")).splitlines() for one in (before, after))
            found += unified_diff(old, new, path if path in before else "/dev/null", path, n=0, lineterm="")
    return "".join(f"{line}\n" for line in found)

"""Whether visitors and phones find on a web server what was published there, asked over the network by its name."""

from collections.abc import Mapping, Sequence
from typing import Any

from backup.drills.checks import CheckFailed, Client
from backup.drills.serving import body, media_type, url
from roles.web.archive import ERROR_PAGE, MESSAGE, Site, digest

AT_MOST = 500
"""Files of a publication that are asked for: what a server serves wrongly, it hardly serves wrongly in one alone."""
MISSING = "/no/such/page"
RESTS = 503
"""By what a server in maintenance answers whatever people ask for."""
PLAIN = "identity"
"""How RFC 9110 calls what is not compressed."""


def look_in_maintenance(client: Client, manifest: Mapping[str, Any], paths: Sequence[str]) -> list[str]:
    """The same of a server in maintenance: people are answered by its page, programs as ever."""
    sums = {file["path"]: file["sha256"] for file in manifest["files"]}
    chosen = dict.fromkeys(path for path in (*paths, MESSAGE) if path in sums and path.startswith("."))
    try:
        if (status := client.get("/").status) != RESTS:
            return [f"/: answers {status}, and not {RESTS}, though it is to be in maintenance: run deploys/web.py"]
        site = Site(sums, {})
        return [told for path in list(chosen)[:AT_MOST] if (told := _file(client, site, path, sums))]
    except CheckFailed as error:
        return [str(error)]


def look(client: Client, manifest: Mapping[str, Any], paths: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """What is not as it should be, in words. paths: of the manifest, asked for before all others; places: redirects."""
    sums = {file["path"]: file["sha256"] for file in manifest["files"]}
    site = Site(sums, places)
    chosen = dict.fromkeys([path for path in (*paths, "index.html", MESSAGE) if path in sums])
    chosen.pop(ERROR_PAGE, None)
    try:
        if client.get("/").status == RESTS:
            return [f"/: answers {RESTS}, as in maintenance, which it is not to be in: run deploys/web.py"]
        found = [told for path in list(chosen)[:AT_MOST] if (told := _file(client, site, path, sums))]
        found += [told for old, new in places.items() if (told := _redirect(client, old, new))]
        answer = client.get(MISSING)
        if answer.status != 404 or digest(body(answer)) != sums[ERROR_PAGE]:
            found.append(f"{MISSING}: answers {answer.status}, and not by {ERROR_PAGE} with 404")
    except CheckFailed as error:
        return [str(error)]
    return found


def _file(client: Client, site: Site, path: str, sums: Mapping[str, str]) -> str:
    address = site.address(path) if path.endswith(".html") else f"/{path}"
    if site.redirects(address):
        return ""
    packed = f"{path}.gz"
    for asked, lies in {"gzip": packed, PLAIN: path}.items() if packed in sums else [("gzip", path)]:
        answer = client.get(url(address), Accept_Encoding=asked)
        encoding = answer.headers.get("content-encoding", PLAIN)
        if answer.status == 200 and encoding != ("gzip" if lies == packed else PLAIN):
            return f"{address}: asked for as {asked}, comes as {encoding}"
        if answer.status != 200 or digest(answer.body) != sums[lies]:
            return f"{address}: answers {answer.status}, and not by {lies} as it was published"
    if path == MESSAGE and media_type(answer) != "text/plain":
        return f"{address}: comes as {media_type(answer)}, and not as plain text"
    return ""


def _redirect(client: Client, old: str, new: str) -> str:
    answer = client.get(url(old))
    if (answer.status, answer.headers.get("location")) == (301, new):
        return ""
    return f"{old}: answers {answer.status} {answer.headers.get('location', '')}, not 301 {new}: run deploys/web.py"

"""The account by which admins' programs act on Gerrit, made or given its token while no server runs: `give SITE NAME`;
and any program run beside a server of the site that nobody else reaches: `beside SITE VERSION PROGRAM...`.

give: the token is the systemd credential `token`. When the site has had another one, or none, its server is started for
a moment beside it: on a port of loopback, without ssh, and told by a header whose name nobody else knows who logs in.
The first who ever does becomes an administrator; so no browser is needed, and a token that was lost is set anew.

Who is logged in by a name is the account that has the external id `gerrit:NAME` (3.13), whoever says so: nginx, or a
directory. So the account has it for that moment alone; without it, a login by its name is refused everywhere.
"""

import hashlib
import http.cookiejar
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SET, VERSION = "etc/mainstay.token", "etc/mainstay.version"
"""SHA-256 of the token that the account has; the version that the site is of."""
SHARED = ("git", "data", "db", "index", "lib")
PREFIX = "account-"
EXTERNAL_IDS, NOTES = "refs/meta/external-ids", "refs/notes/mainstay"
"""Of All-Users: a note for each; git-notes(1) works below refs/notes alone, so it has them there for a moment."""
TOKEN_ID = "mainstay"  # noqa: S105  # a name
START_TIMEOUT_S, STOP_TIMEOUT_S = 300, 60


def give(site: Path, name: str, token: str) -> None:
    digest, known = hashlib.sha256(token.encode()).hexdigest(), site / SET
    if known.exists() and known.read_text().strip() == digest:
        return
    print(f"the account {name} gets its token")
    let_in(site / "git/All-Users.git", name)
    with served(site, (site / VERSION).read_text().strip()) as (url, header):
        log_in(url, header, name, token)
        shut_out(url, name, token)
        admin = administers(url, name, token)
    known.touch(mode=0o600)
    known.write_text(digest + "\n")
    if not admin:
        print(f"{name} is in no group that administers this server: an administrator has to add it", file=sys.stderr)


@contextmanager
def served(site: Path, version: str) -> Iterator[tuple[str, str]]:
    """A server of that version on the site's data, without plugins: its address, and the header that it believes."""
    (site / "tmp").mkdir(exist_ok=True)
    for left in (site / "tmp").glob(f"{PREFIX}*"):
        shutil.rmtree(left)
    beside = Path(tempfile.mkdtemp(prefix=PREFIX, dir=site / "tmp"))
    try:
        for folder in SHARED:
            (site / folder).mkdir(exist_ok=True)
            (beside / folder).symlink_to(site / folder)
        with running(site, beside, f"/opt/gerrit/gerrit-{version}.war") as found:
            yield found
    finally:
        shutil.rmtree(beside)


@contextmanager
def running(site: Path, beside: Path, war: str) -> Iterator[tuple[str, str]]:
    header = f"X-{secrets.token_hex(16)}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    (beside / "etc").mkdir()
    config, secure = beside / "etc/gerrit.config", beside / "etc/secure.config"
    shutil.copy(site / "etc/gerrit.config", config)
    secure.touch(mode=0o600)
    settings = {
        "auth.type": "HTTP",
        "auth.httpHeader": header,
        "auth.httpDisplaynameHeader": "X-Gerrit-Name",
        "auth.httpEmailHeader": "",  # with one, nobody may be given an address
        "gerrit.canonicalWebUrl": url,
        "httpd.listenUrl": url,
        "sendemail.enable": "false",
    }
    for key, value in settings.items():
        subprocess.run(["git", "config", "--file", config, "--replace-all", key, value], check=True)
    words = ["/usr/bin/java", "-Duser.home=/var/lib/gerrit", "-jar", war, "daemon", "-d", str(beside)]
    with subprocess.Popen([*words, "--disable-sshd", "--console-log"], stdout=sys.stderr) as server:
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not answers(f"{url}config/server/version"):
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit("the server beside the site did not start")
                time.sleep(0.2)
            yield url, header
        finally:
            server.terminate()
            try:
                server.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # it is our own
            return True
    except OSError:
        return False


def log_in(url: str, header: str, name: str, token: str) -> None:
    """As the browser of that user would, to set the token: of 3.12 its only one is the password for HTTP."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    who = {header: name, "X-Gerrit-Name": name.capitalize()}
    for path in ("login/", ""):
        ask(browser, "GET", url + path, who, allowed=(404,))
    told = {"X-Gerrit-Auth": next((cookie.value or "" for cookie in jar if cookie.name == "XSRF_TOKEN"), "")}
    tokens = f"{url}accounts/self/tokens/{TOKEN_ID}"
    ask(browser, "DELETE", tokens, told, allowed=(404,))
    if ask(browser, "PUT", tokens, told, {"token": token}, allowed=(404,)) == 404:
        ask(browser, "PUT", f"{url}accounts/self/password.http", told, {"http_password": token})


def let_in(users: Path, name: str) -> None:
    """Gives the account that has the user name the external id by which it is logged in, unless it has it."""
    git = ["git", "--git-dir", str(users)]
    if subprocess.run([*git, "update-ref", NOTES, EXTERNAL_IDS], capture_output=True, check=False).returncode:
        return  # nobody was here yet
    account = re.search(r"accountId = (\d+)", noted(git, f"username:{name}"))
    if account and not noted(git, f"gerrit:{name}"):
        text = f'[externalId "gerrit:{name}"]\n\taccountId = {account[1]}\n'
        committer = {f"GIT_{role}_{what}": name for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        add = [*git, "notes", "--ref", NOTES, "add", "--file", "-", key(f"gerrit:{name}")]
        subprocess.run(add, input=text, text=True, env=os.environ | committer, check=True)
        subprocess.run([*git, "update-ref", EXTERNAL_IDS, NOTES], check=True)
    subprocess.run([*git, "update-ref", "-d", NOTES], check=True)


def noted(git: list[str], external_id: str) -> str:
    """What Gerrit has of an external id; empty if nothing."""
    words = [*git, "notes", "--ref", NOTES, "show", key(external_id)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def key(external_id: str) -> str:
    """By which it is in the notes of refs/meta/external-ids."""
    return hashlib.sha1(external_id.encode(), usedforsecurity=False).hexdigest()


def shut_out(url: str, name: str, token: str) -> None:
    """Takes that external id away, and sees that the account has an address of its own, which its commits need."""
    account, login, plain = f"{url}a/accounts/self", basic(name, token), urllib.request.build_opener()
    ask(plain, "POST", f"{account}/external.ids:delete", login, [f"gerrit:{name}"])
    address = {"no_confirmation": True, "preferred": True}
    ask(plain, "PUT", f"{account}/emails/{name}@{socket.getfqdn()}", login, address, allowed=(409,))


def basic(name: str, token: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:{token}'.encode()).decode()}"}


def administers(url: str, name: str, token: str) -> bool:
    """Whether the account, by its token, is an administrator."""
    path, plain = "a/accounts/self/capabilities/administrateServer", urllib.request.build_opener()
    return ask(plain, "GET", url + path, basic(name, token), allowed=(404,)) == 200


def ask(
    browser: urllib.request.OpenerDirector,
    method: str,
    url: str,
    headers: dict[str, str],
    body: Any = None,
    allowed: tuple[int, ...] = (),
) -> int:
    """The status, which is a good one or allowed."""
    data = json.dumps(body).encode() if body else None
    more = {"Content-Type": "application/json"} if body else {}
    request = urllib.request.Request(url, data, headers | more, method=method)  # noqa: S310  # it is our own
    try:
        with browser.open(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        if error.code in allowed:
            return error.code
        sys.exit(f"{method} {url}: {error.code} {error.read().decode(errors='replace').strip()}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["give", folder, account]:
            token_file = Path(os.environ["CREDENTIALS_DIRECTORY"]) / "token"
            give(Path(folder), account, token_file.read_text().strip())
        case ["beside", folder, version, *program]:
            with served(Path(folder), version) as (address, _):
                sys.exit(subprocess.run([*program, address], check=False).returncode)
        case _:
            sys.exit(__doc__)

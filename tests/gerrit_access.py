"""`mainstay gerrit plan` and `apply` on a deployed Gerrit, and what is asked of that besides."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cloud.converge import REPOSITORY
from inventories.editing import Plain, apply
from inventories.inventory import LoadedSite, load_site
from roles.gerrit import secure
from roles.gerrit.tools.access import loading
from roles.gerrit.tools.access.planning import Way
from roles.gerrit.tools.access.remembered import Remembered
from roles.gerrit.tools.rest import Request, Server, connected
from tests.gerrit_files import write_example
from tests.gerrit_site import HOST
from tests.saved_site import Saved
from tests.waiting import until

BOT_TOKEN = "gerrit_ci_token"  # its name


@dataclass(frozen=True)
class Reviewed:
    """A Gerrit with the README's example beside it, declared and not yet applied."""

    saved: Saved
    state: Path
    """Where the admin's machine keeps what it has seen."""

    @property
    def site(self) -> LoadedSite:
        return load_site(self.saved.inventory)

    @property
    def file(self) -> Path:
        return self.site.files / "gerrit.toml"

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ | {"MAINSTAY_INVENTORY": str(self.saved.inventory), "XDG_STATE_HOME": str(self.state)}

    def begin(self, *words: str, state: Path | None = None) -> "subprocess.Popen[str]":
        """`mainstay gerrit WORDS`, in a process group of its own."""
        env = {**self.environment} | ({"XDG_STATE_HOME": str(state)} if state else {})
        line = [str(REPOSITORY / "bin/mainstay"), "gerrit", *words]
        return subprocess.Popen(
            line,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, state: Path | None = None) -> tuple[int, str, str]:
        """Its exit code and what it says."""
        with self.begin(*words, state=state) as process:
            out, errors = process.communicate()
        return process.returncode, out, errors

    def plan(self, state: Path | None = None) -> dict[str, Any]:
        """What it tells programs."""
        code, out, errors = self.run("plan", "--json", state=state)
        assert code in (0, 52), out + errors
        told: dict[str, Any] = json.loads(out)
        assert told["exit_code"] == code
        return told

    def differences(self) -> dict[str, list[str]]:
        """In words, by what they are of."""
        found: dict[str, list[str]] = {}
        for one in self.plan()["differences"]:
            found.setdefault(one["about"], []).extend(one["words"])
        return found

    def apply(self) -> None:
        code, out, errors = self.run("apply", "--yes")
        assert code == 0, out + errors

    def set_secret(self, name: str, value: str) -> None:
        site = self.site
        apply(site.secrets.path, site.secrets.entries, {name: Plain(value, ())}, site.readers)

    @contextmanager
    def server(self) -> Iterator[Server]:
        """As its administrator."""
        with connected(self.site) as server:
            yield server

    @contextmanager
    def way(self) -> Iterator[Way]:
        """As a program that has seen nothing of it."""
        declared = loading.load(self.site.files, self.site.admins, secure.ACCOUNT)
        with self.server() as server, TemporaryDirectory() as scratch:
            place = Remembered(Path(scratch, "remembered.json"))
            values = {BOT_TOKEN: self.site.secrets[BOT_TOKEN].get_secret_value()}
            yield Way(server, declared, place, values.__getitem__, Path(scratch), lambda *_: None)

    def answers(self) -> bool:
        return self.saved.ssh(HOST, "curl -sf http://127.0.0.1:8081/config/server/version").returncode == 0

    def logs_in(self, name: str) -> int:
        """The number of the account that somebody is whom the proxy names so."""
        header = secure.header(secure.token(self.site)).get_secret_value()
        command = (
            "jar=$(mktemp); get='curl -s -b '$jar' -c '$jar; at=http://127.0.0.1:8081; "
            f"$get -o /dev/null -H '{header}: {name}' $at/login/; $get $at/accounts/self; rm $jar"
        )
        told = self.saved.root(HOST, command)
        return int(json.loads(told.removeprefix(")]}'"))["_account_id"])


def reviewed(saved: Saved, folder: Path) -> Reviewed:
    """With the example's files and secret."""
    made = Reviewed(saved, folder / "state")
    write_example(made.site.files)
    if BOT_TOKEN not in made.site.secrets:
        made.set_secret(BOT_TOKEN, "the-token-of-a-bot-of-the-lab-0123456789")
    until("Gerrit answers", made.answers, timeout_s=120)
    return made


def ask(server: Server, method: str, path: str, body: object = None) -> Any:
    return server.ask(Request(method, path, body))

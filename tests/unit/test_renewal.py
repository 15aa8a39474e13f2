"""`mainstay secrets rotate`: new values of what is this project's own, words on what is not, and what is struck."""

from pathlib import Path

import pytest

from backup import custody, renewal
from bundle import key as bundle_key
from inventories import departed, identities, keys
from inventories.errors import InputError
from inventories.secrets import CONTROL_KEY, Secrets, write
from roles.gerrit import secure
from roles.gerrit.tools.access import declared
from tests.people_site import INVENTORY, Place, made

BACKED_UP = """
dns = ["www.example.org"]
[hosts.vault-1]
role = "vault"
plan = "p"
region = "ams"
dns = ["vault.example.org"]
volumes.repositories = { size_gb = 100, mount = "/srv/vault" }
[hosts.control-1]
role = "control"
plan = "p"
region = "ams"
volumes.state = { size_gb = 10, mount = "/srv/control" }
[backup.copy]
endpoint = "https://s3.example.org"
bucket = "example-backups"
[settings.base.mail]
"""


@pytest.fixture(scope="module")
def folk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for name in ("alice", "bob"):
        made(folder, name)
    return folder


@pytest.fixture
def place(tmp_path: Path, folk: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """With all secrets of the backups, some by hand, and bob, who has just left."""
    monkeypatch.setenv(identities.VARIABLE, str(folk / "alice"))
    monkeypatch.setenv("MAINSTAY_INVENTORY", str(tmp_path / "site.toml"))
    made = Place(tmp_path, folk)
    made.inventory.write_text(INVENTORY.replace("[settings.base.mail]\n", BACKED_UP.lstrip()))
    custody.make(made.site)
    made.put(notify_ping="https://ping.example.org/1", gerrit_token="t" * 40, ci_token="c" * 40, vultr_api_key="v")
    custody.make(made.site)
    (made.files / "gerrit.toml").write_text('[bots.ci]\ntoken = "ci_token"\n')
    done = made.admin("remove", "bob")
    assert done.exit_code == 0, done.output
    return made


def knows(place: Place) -> tuple[str, ...]:
    return departed.known(departed.read(place.files))


def values(place: Place) -> dict[str, str]:
    return place.read_by("alice")


def test_the_vaults_key_is_new_once_passwords_of_data_are_proved_and_before_logins() -> None:
    wanted = ["control_age_key", "control_ssh_key", "backup_web_1_web", "next_backup_web_1_web", "vault_tls_key"]
    wanted += ["gerrit_token", "vault_admin", "vault_web_1"]
    assert renewal.ordered(reversed(wanted)) == wanted


def test_every_secret_says_whose_it_is_to_renew_and_by_what_it_gets_to_hosts(place: Place) -> None:
    site, inventory = place.site, place.inventory.with_suffix(".py")
    assert knows(place) == tuple(site.secrets)
    found = {name: renewal.renewal(site, name) for name in knows(place)}
    assert sorted(name for name, one in found.items() if not one.own) == [
        *("notify_ping", "smarthost_password", "token", "vultr_api_key")
    ]
    deploy = f"pyinfra {inventory} deploys"
    assert found["vault_web_1"].then == (f"{deploy}/vault.py", f"{deploy}/web.py --limit web-1")
    assert found["vault_control"].then == (f"{deploy}/vault.py", f"{deploy}/control.py")
    assert found["ci_token"].then == (f"mainstay gerrit apply --inventory {inventory}",)
    assert found["smarthost_password"].then == (f"{deploy}/base.py",)
    assert "(named by settings.base.mail.secret)" in found["smarthost_password"].how
    assert found["vultr_api_key"].how.startswith("in the console of the provider (https://api.vultr.com/v2)")
    assert "nothing here names it" in found["token"].how
    assert "mainstay backup rotate web-1:web" in found["backup_web_1_web"].how


def test_names_that_stand_twice_are_the_same() -> None:
    assert (renewal.GERRIT_TOKEN, renewal.GERRIT_FILE) == (secure.TOKEN, declared.FILE)
    assert renewal.BUNDLE_KEY == bundle_key.SECRET


def test_what_is_rotated_gets_another_value_with_the_same_readers_and_is_struck(place: Place) -> None:
    names = [CONTROL_KEY, "vault_control", "vault_tls_key", "gerrit_token", "ci_token", "control_ssh_key"]
    before, entries = values(place), place.site.secrets.entries
    done = place.run("rotate", *names, "--yes")
    assert done.exit_code == 0, done.output
    after = values(place)
    assert sorted(name for name in before if after[name] != before[name]) == sorted(names)
    assert not {*names} & {*knows(place)}
    assert not [name for name in names if before[name] in done.output or after[name] in done.output]
    now = place.site.secrets.entries
    assert {name: now[name].tags for name in now} == {name: entries[name].tags for name in entries}
    assert done.output.count(f"deploys/{'vault'}.py\n") == 1
    secure.token(place.site)
    custody.check(place.site)


def test_with_the_control_hosts_key_goes_all_that_the_old_one_opens(place: Place, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text(values(place)[CONTROL_KEY])
    assert "vault_control" in Secrets(place.secrets, [old]).shared()
    assert place.run("rotate", CONTROL_KEY, "--yes").exit_code == 0
    opened = Secrets(place.secrets, [old])
    assert not [name for name in opened if opened.readable(name)]
    new = values(place)[CONTROL_KEY]
    assert (place.files / "control.age.pub").read_text().strip() == keys.public_age(new)


def test_what_the_known_key_of_the_control_host_would_open_is_not_rotated_before_it(place: Place) -> None:
    before = place.content()
    error = place.run("rotate", "vault_control", "--yes").exception
    assert isinstance(error, InputError)
    assert "bob: knows control_age_key, which would open the new value of vault_control too" in str(error)
    assert place.content() == before
    assert place.run("rotate", "vault_control", CONTROL_KEY, "--yes").exit_code == 0
    assert not {"vault_control", CONTROL_KEY} & {*knows(place)}


def test_what_a_person_puts_in_is_struck_and_what_only_others_may_read_now_is_not(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        """#!/bin/sh\nsed -i 's/hunter2/new/; s#ping.example.org/1#ping.example.org/2#; /^token/d' "$1"\n"""
    )
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    done = place.run("edit")
    assert done.exit_code == 0, done.output
    assert "notify_ping: who has left and knows control_age_key can read the new value too" in done.output
    assert {"smarthost_password", "token", "notify_ping"} & {*knows(place)} == {"notify_ping"}


def test_without_somebody_to_ask_nothing_is_changed(place: Place) -> None:
    before = place.content()
    done = place.run("rotate", "gerrit_token")
    assert done.exit_code == 2
    assert "nothing was changed" in done.output
    assert place.content() == before


def test_a_password_whose_repository_cannot_be_reached_stays_as_it_is(place: Place) -> None:
    place.run("rotate", CONTROL_KEY, "--yes")
    before = values(place)["backup_web_1_web"]
    done = place.run("rotate", "backup_web_1_web", "gerrit_token", "--yes")
    assert (done.exit_code, "gerrit_token: a new value" in done.output) == (3, False)
    assert values(place)["backup_web_1_web"] == before
    assert "backup_web_1_web" in knows(place)


def test_what_is_no_secret_any_more_is_struck(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such secret" in str(place.run("rotate", "nothing").exception)
    departed.note(place.files, {"bob": ["gone"]})
    assert "gone: struck" in place.run("rotate", "gone", "--yes").output
    assert "gone" not in knows(place)


def test_what_backup_keys_makes_anew_is_struck(place: Place) -> None:
    site = place.site
    entries = {name: one for name, one in site.secrets.entries.items() if name != "vault_admin"}
    write(place.secrets, entries)
    custody.make(place.site)
    assert "vault_admin" not in knows(place)

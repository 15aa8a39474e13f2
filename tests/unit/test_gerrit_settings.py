"""What Gerrit's settings come down to: files of its site, and what is refused before any host is touched."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inventories import keys
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from inventories.secrets import Secrets
from roles.base.settings import Mail
from roles.gerrit import auth, config_text, configuration, secure
from roles.gerrit.settings import Settings
from roles.gerrit.tree.usr.local.lib.mainstay import gerrit_site
from roles.gerrit.tree.usr.local.lib.mainstay.loaded_by_gerrit import differences

LEAST = {
    "war": {"version": "3.13.8", "sha256": "0" * 64, "source": "/x.war"},
    "server_id": "3b5e7f5c-5a0c-4a86-9d1c-0a4f3f6a2f11",
    "email": "gerrit@example.org",
}
LDAP = {"type": "ldap", "server": "ldaps://ldap.example.org", "account_base": "ou=people,dc=example,dc=org"}
PLUGIN = {"name": "lfs", "version": "1.0", "sha256": "0" * 64, "source": "/lfs.jar"}
SMARTHOST = Mail.model_validate(
    {"smarthost": "smtp.example.org", "user": "hosts", "secret": "smtp"}
    | dict.fromkeys(("sender", "admin"), "a@example.org")
)
TOKEN = "t" * 40
HASH = "$6$salt$" + "a" * 86


def settings(**more: Any) -> Settings:
    return Settings.model_validate(LEAST | more)


@pytest.fixture
def site(tmp_path: Path) -> Any:
    """A site with these secrets."""

    def made(**values: str) -> LoadedSite:
        private = keys.new_ssh()
        (tmp_path / "key").write_text(private)
        told = {"name": "x", "domain": "example.org", "ssh_key": str(tmp_path / "key")}
        fleet = Fleet.model_validate({"site": told, "hosts": {}})
        readers = {"bob": [keys.public_ssh(private)]}
        Secrets.create(tmp_path / "x/secrets.age", readers, {secure.TOKEN: TOKEN} | values)
        return LoadedSite(tmp_path / "x.toml", fleet)

    return made


def read(text: str, folder: Path) -> list[tuple[str, str]]:
    """All that git finds in it."""
    (folder / "config").write_text(text)
    words = ["git", "config", "--file", str(folder / "config"), "--null", "--list"]
    found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return [(key, value) for key, _, value in (one.partition("\n") for one in found.split("\0") if one)]


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    values = ("plain", "a b", " # ; ", 'with "quotes" and \\', "", "(&(uid=${username})(!(x=y)))", "Ä")
    told = config_text.text({'plugin "x y"': {"one": values, "two": True, "three": 3}, "empty": {}})
    found = read(told, tmp_path)
    more = [("plugin.x y.two", "true"), ("plugin.x y.three", "3")]
    assert found == [*(("plugin.x y.one", value) for value in values), *more]


def test_no_section_of_the_settings_says_what_the_role_says(tmp_path: Path, site: Any) -> None:
    loaded = site(smtp="s")
    for one in (settings(outgoing=True), settings(auth=LDAP, outgoing=True)):
        for key, _ in read(configuration.gerrit_config(loaded, one, "review.example.org", SMARTHOST), tmp_path):
            section, *sub, name = key.split(".")
            section += "".join(f' "{one}"' for one in sub)
            with pytest.raises(ValidationError, match=r"is not for this|is the role's own"):
                settings(sections={section: {name: "x"}})
    settings(sections={"receive": {"maxObjectSizeLimit": "40m"}, 'cache "web_sessions"': {"maxAge": "1d"}})


def test_a_secret_is_in_secure_config_alone(tmp_path: Path, site: Any) -> None:
    loaded = site(oauth="of the provider", bind="of the directory", smtp="of the smarthost", mirror="of the mirror")
    one = settings(
        auth=LDAP | {"username": "cn=gerrit", "password": "bind"},
        sections={'plugin "o"': {"client-id": "id", "client-secret": {"secret": "oauth"}}},
        files={"replication.config": {'remote "m"': {"url": "https://m/${name}", "password": {"secret": "mirror"}}}},
        outgoing=True,
    )
    secret = dict(read(configuration.secure_config(loaded, one, secure.token(loaded), SMARTHOST), tmp_path))
    assert secret["ldap.password"] == "of the directory"
    assert secret["plugin.o.client-secret"] == "of the provider"
    assert secret["remote.m.password"] == "of the mirror"
    assert secret["sendemail.smtppass"] == "of the smarthost"
    public = configuration.gerrit_config(loaded, one, "n", SMARTHOST) + "".join(configuration.files(one).values())
    assert "of the" not in public
    assert dict(read(public, tmp_path))["plugin.o.client-id"] == "id"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"server": "ldap://ldap.example.org"}, "passwords go there"),
        ({"server": "ldaps://ldap.example.org", "starttls": True}, "begins with TLS already"),
        ({"username": "cn=gerrit"}, "go together"),
    ],
)
def test_passwords_go_to_a_directory_by_tls_alone(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        settings(auth=LDAP | change)
    settings(auth=LDAP | {"server": "ldap://ldap.example.org", "starttls": True})
    settings(auth=LDAP | {"server": "ldap://localhost"})


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (f"alice:{HASH}\nmainstay:{HASH}", "line 2 is of mainstay"),
        (f"MainStay:{HASH}", "line 1 is of mainstay"),
        ("alice:hunter2", "line 1 is not NAME:HASH"),
        ("alice:$2y$14$" + "a" * 53, "line 1 is not NAME:HASH"),
        (f"alice:{HASH}\nAlice:{HASH}", "line 2 is of somebody who was there before"),
    ],
)
def test_a_password_file_that_lets_the_wrong_in_is_refused_and_not_told(site: Any, lines: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as raised:
        auth.password_file(site(people=lines), auth.HttpAuth(passwords="people"))
    assert "hunter2" not in str(raised.value)


def test_mail_needs_somebody_who_takes_it(site: Any) -> None:
    with pytest.raises(InputError, match="there is no smarthost"):
        configuration.gerrit_config(site(), settings(outgoing=True), "n", None)


def test_plugins_that_send_are_there_only_while_something_goes_out() -> None:
    plugins = [PLUGIN, PLUGIN | {"name": "webhooks", "sends": True}]
    assert [one.name for one in settings(plugins=plugins).wars()["war"][1]] == ["lfs"]
    assert [one.name for one in settings(plugins=plugins, outgoing=True).wars()["war"][1]] == ["lfs", "webhooks"]
    with pytest.raises(ValidationError, match="lfs is there twice"):
        settings(plugins=[PLUGIN, PLUGIN])
    with pytest.raises(ValidationError, match="needs a plugin"):
        settings(auth={"type": "oauth"})


def test_what_is_loaded_is_compared_with_what_is_declared() -> None:
    declared = {name: {"version": "1.0"} for name in ("same", "none", "other", "disabled")}
    loaded = {
        "same": {"version": "1.0"},
        "other": {},
        "more": {"version": "2"},
        "disabled": {"version": "1.0", "disabled": True},
    }
    assert [one.split(",")[0] for one in differences(declared, loaded)] == [
        "the plugin disabled 1.0 is declared",
        "the plugin none 1.0 is declared",
        "the plugin other is loaded as no version",
        "the plugin more is loaded",
    ]


@pytest.mark.parametrize(
    ("outgoing", "restored", "left", "mail"),
    [
        (True, False, ["lfs.jar", "webhooks.jar"], "true"),
        (True, True, ["lfs.jar"], "false"),
        (False, False, ["lfs.jar"], "false"),
    ],
)
def test_what_a_backup_brought_sends_nothing(
    tmp_path: Path, outgoing: bool, restored: bool, left: list[str], mail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gerrit_site, "WARS", tmp_path / "wars")
    for name in ("wars/3.13.5/lfs.jar", "wars/3.13.5/webhooks.jar", "plugins/webhooks.jar", "plugins/undeclared.jar"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/gerrit.config").write_text(config_text.text({"sendemail": {"enable": True}}))
    plugins = {"lfs": {"version": "1", "sends": False}, "webhooks": {"version": "1", "sends": True}}
    if restored:
        (tmp_path / gerrit_site.RESTORED).parent.mkdir()
        (tmp_path / gerrit_site.RESTORED).touch()
    declared = {"outgoing": outgoing, "versions": {"3.13.5": {"plugins": plugins}}}
    gerrit_site.settle(tmp_path, declared, "3.13.5")
    assert sorted(one.name for one in (tmp_path / "plugins").iterdir()) == left
    assert read((tmp_path / "etc/gerrit.config").read_text(), tmp_path) == [("sendemail.enable", mail)]

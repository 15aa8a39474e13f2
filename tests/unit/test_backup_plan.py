"""Plan files: what is believed and what is refused, whatever stands in them."""

import json
import os
import random
import string
from pathlib import Path
from typing import Any

import pytest

from backup.agent.plan import LARGEST, PlanError, load, parse

FILE = Path("/etc/mainstay/backup/release.json")
GOOD: dict[str, Any] = {
    "name": "release",
    "host": "release-1",
    "url": "rest:https://release-1:secret@vault.example.org:8000/release-1/release/",
    "password": "correct horse",
    "ca": "/etc/mainstay/backup/vault.pem",
    "s3_region": "",
    "s3_access_key": "",
    "s3_secret_key": "",
    "may": "save",
    "root": "/srv/release",
    "owner": "release",
    "paths": ["public"],
    "exclude": ["*.tmp", "/public/cache", "!keep.tmp"],
    "consistency": "files",
    "repositories": [],
    "command": [],
    "before": [["systemctl", "stop", "x"]],
    "after": [["systemctl", "start", "x"]],
    "rpo_hours": 24,
}
BAD: list[tuple[str, Any]] = [
    ("name", "Release"),
    ("name", "../x"),
    ("name", None),
    ("owner", "a:b"),
    ("owner", None),
    ("host", "a/b"),
    ("host", "-o"),
    ("url", ""),
    ("url", 5),
    ("password", ""),
    ("password", "a\nb"),
    ("password", "\ud800"),
    ("ca", None),
    ("ca", "vault.pem"),
    ("s3_region", None),
    ("s3_region", "a b"),
    ("s3_access_key", 5),
    ("s3_secret_key", "a\nb"),
    ("s3_secret_key", "a b"),
    ("may", ""),
    ("may", None),
    ("may", "all"),
    ("root", "srv"),
    ("root", "/srv/../etc"),
    ("root", "/srv/"),
    ("root", "/srv/*"),
    ("root", ""),
    ("paths", []),
    ("paths", "public"),
    ("paths", ["/etc"]),
    ("paths", ["../etc"]),
    ("paths", ["a/"]),
    ("paths", [""]),
    ("paths", ["a\0b"]),
    ("exclude", [""]),
    ("exclude", ["/"]),
    ("exclude", ["a/../b"]),
    ("exclude", {}),
    ("consistency", "none"),
    ("consistency", []),
    ("consistency", "command"),
    ("repositories", ["git"]),
    ("repositories", "git"),
    ("repositories", ["../git"]),
    ("command", ["pg_dump"]),
    ("command", [["pg_dump"]]),
    ("before", ["touch x"]),
    ("before", [[]]),
    ("after", None),
    ("rpo_hours", 0),
    ("rpo_hours", True),
    ("rpo_hours", 24.0),
    ("rpo_hours", "24"),
    ("rpo_hours", 10**400),
]


BAD_URLS = [
    "rest:https://h-1:s3cr/et@vault:8000/x/",
    "rest:https://h-1:s3cr?et@vault:8000/x/",
    "rest:https://h-1:s3cr#et@vault:8000/x/",
    "rest:https://h-1:s3cr@et@vault:8000/x/",
    "rest:https://h-1:12/s3cret@vault/x/",
    "rest:https://h-1:s3cret%zz@vault/x/",
    "rest:https://h-1:s3cret@vault:99999/x/",
    "rest:https://h-1:s3cret@vault:80a/x/",
    "rest:https://h-1:s3cret@/x/",
    "rest:https://h-1:s3cret@[::1/x/",
    "rest:https://h-1:s3cret@[x]/x/",
    "rest:https://h-1:s3cret@vault..example.org/x/",
    "rest:https://h-1:s3cret@vault/x y/",
    "rest:https://h-1:s3cret@vault/\u00e9/",
    "rest:https://h-1:s3cret@vault/x?a=b",
    "rest:ftp://h-1:s3cret@vault/x/",
    "rest:h-1:s3cret@vault/x/",
    "https://h-1:s3cret@vault/x/",
    "s3:ftp://s3cret/b/h/p",
    "s3:https://a:s3cret@storage/b/h/p",
    "s3:https://s3cret",
    "s3:s3cret/b/h/p",
    "s3:https://storage/b/s3cret?x",
    "s3:https://storage:99999/b/s3cret",
    "s3cret/repository",
    "/srv/s3cret\u00e9",
]
GOOD_URLS = [
    "rest:https://vault/",
    "rest:http://127.0.0.1:8000/a/b",
    "rest:https://h-1:a%2Fb%40c!@[2001:db8::1]:8000/h-1/x.y/",
    "/srv/a repository",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_an_address_that_cannot_be_meant_is_refused_and_not_shown(url: str) -> None:
    """It holds a login: a secret that is not escaped would be taken for a port, and told as a wrong one."""
    with pytest.raises(PlanError) as refused:
        parse(FILE, content(url=url))
    assert refused.value.key == "url"
    assert "s3cr" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("url", GOOD_URLS)
def test_an_address_is_taken_as_it_is(url: str) -> None:
    assert parse(FILE, content(url=url)).url == url


IN_S3 = {
    "url": "s3:https://s3.example.org:7070/bucket/release-1/release",
    "s3_region": "fr-par",
    "s3_access_key": "AK+/=",
    "s3_secret_key": "secret/+=",
    "may": "restore",
}


def test_what_lies_in_s3_is_read_with_its_keys_and_only_restored_from() -> None:
    plan = parse(FILE, content(**IN_S3))
    assert (plan.url, plan.s3_region, plan.may) == (IN_S3["url"], "fr-par", "restore")
    assert "secret" not in repr(plan)
    assert "AK" not in repr(plan)
    assert parse(FILE, content(may="restore")).may == "restore"
    for key, value in {"may": "save", "s3_access_key": "", "s3_secret_key": ""}.items():
        with pytest.raises(PlanError) as refused:
            parse(FILE, content(**(IN_S3 | {key: value})))
        assert refused.value.key == key
        assert "secret/" not in str(refused.value)
    for key in ("s3_region", "s3_access_key", "s3_secret_key"):
        with pytest.raises(PlanError) as refused:
            parse(FILE, content(**{key: "x"}))
        assert refused.value.key == key


def content(**change: Any) -> bytes:
    return json.dumps(GOOD | change).encode()


def test_a_plan_is_read_and_shows_no_secret() -> None:
    plan = parse(FILE, content())
    assert (plan.name, plan.paths, plan.before) == ("release", ("public",), (("systemctl", "stop", "x"),))
    assert "secret" not in repr(plan)
    assert "horse" not in repr(plan)
    assert parse(FILE, content(ca="")).ca == ""
    assert parse(FILE, content(consistency="command", command=["pg_dump", ""])).command == ("pg_dump", "")


@pytest.mark.parametrize(("key", "value"), BAD)
def test_what_cannot_be_meant_is_refused_by_file_and_key(key: str, value: Any) -> None:
    with pytest.raises(PlanError) as refused:
        parse(FILE, content(**{key: value}))
    assert str(refused.value).startswith(f"{FILE}: ")
    assert refused.value.key == ("command" if value in ("command", ["pg_dump"]) else key)
    assert "horse" not in str(refused.value)


@pytest.mark.parametrize("key", GOOD)
def test_every_key_must_be_there_and_no_other(key: str) -> None:
    with pytest.raises(PlanError, match=f"{key}: is missing"):
        parse(FILE, json.dumps({name: value for name, value in GOOD.items() if name != key}).encode())
    with pytest.raises(PlanError, match=f"'{key}s?_': no such key"):
        parse(FILE, content(**{f"{key}_": 1}))


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"name": "a", "name": "b"}', b"9" * 5000]
)
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(PlanError, match=str(FILE)):
        parse(FILE, text)
    with pytest.raises(PlanError, match="larger than"):
        parse(FILE, b" " * (LARGEST + 1))


def test_a_plan_that_was_damaged_anyhow_is_a_plan_or_refused() -> None:
    """Seeded, so that a failure can be seen again."""
    dice = random.Random(20261125)
    values: list[Any] = [
        None,
        True,
        0,
        -1,
        1e300,
        "",
        "x" * 9000,
        "\0",
        "\ud800",
        [],
        [[]],
        [[""]],
        {},
        {"a": {}},
        [None],
        "../..",
    ]
    for _ in range(5000):
        if dice.random() < 0.5:
            key = dice.choice([*GOOD, "", "\ud800", "x"])
            damaged = content(**{key: dice.choice(values)})
        else:
            raw = bytearray(content())
            for _ in range(dice.randint(1, 8)):
                at = dice.randrange(len(raw))
                raw[at : at + dice.randint(0, 3)] = dice.choice(
                    [bytes([dice.randrange(256)]), dice.choice(string.punctuation).encode(), b""]
                )
            damaged = bytes(raw)
        try:
            plan = parse(FILE, damaged)
        except PlanError as refused:
            str(refused).encode()
        else:
            assert plan.root.startswith("/")
            assert ".." not in plan.root


def test_a_file_that_others_may_read_or_that_has_another_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_bytes(content())
    file.chmod(0o640)
    with pytest.raises(PlanError, match="chmod 600"):
        load(tmp_path, "web")
    file.chmod(0o600)
    with pytest.raises(PlanError, match="name: is 'release'"):
        load(tmp_path, "web")
    file.rename(tmp_path / "release.json")
    assert load(tmp_path, "release").host == "release-1"
    with pytest.raises(PlanError, match="there are: release"):
        load(tmp_path, "web")
    with pytest.raises(PlanError, match="is not a plan's name"):
        load(tmp_path, "../release")


def test_what_is_no_file_of_this_user_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    file, real = tmp_path / "release.json", tmp_path / "real"
    real.write_bytes(content())
    real.chmod(0o600)
    file.symlink_to(real)
    with pytest.raises(PlanError, match="is a link"):
        load(tmp_path, "release")
    file.unlink()
    os.mkfifo(file, 0o600)
    with pytest.raises(PlanError, match="is no file"):
        load(tmp_path, "release")
    file.unlink()
    file.mkdir(mode=0o700)
    with pytest.raises(PlanError, match="is no file"):
        load(tmp_path, "release")
    if os.geteuid() == 0:
        file.rmdir()
        real.rename(file)
        os.chown(file, 65534, 65534)
        with pytest.raises(PlanError, match="belongs to another user"):
            load(tmp_path, "release")

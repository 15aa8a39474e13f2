"""A role's tree: what it comes down to, what differs, and what is never shown."""

import base64
import json
import os
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from inventories.errors import InputError
from roles.common import facts, tree_plan, tree_source
from roles.common.on_host import tree as on_host
from roles.common.operations import difference
from roles.common.program import program
from roles.common.tree_plan import Directory, File, Found, Wanted


def wanted(source: Path | None = None, context: Mapping[str, object] | None = None, **more: Any) -> Wanted:
    nothing: dict[str, Any] = {
        "generated": {},
        "directories": (),
        "absent": (),
        "modes": {},
        "owners": {},
        "secret": (),
        "validate": {},
    }
    return tree_source.wanted(source, context or {}, **(nothing | more))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for path, text in {
        "etc/app/app.conf.j2": "port {{ port }}\n{% if token is defined %}\ntoken {{ token }}\n{% endif %}\n",
        "etc/app/plain": "{{ not a template }}\n",
        "usr/local/bin/report": "#!/bin/sh\n",
        "etc/app/hook.sh": "#!/bin/sh\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_a_tree_is_its_files_at_the_same_path_with_default_modes(source: Path) -> None:
    files = {file.path: file for file in wanted(source, {"port": 80}).files}
    assert files["/etc/app/app.conf"].content == b"port 80\n"
    assert files["/etc/app/plain"].content == b"{{ not a template }}\n"
    assert {path: file.mode for path, file in files.items()} == {
        "/etc/app/app.conf": 0o644,
        "/etc/app/plain": 0o644,
        "/usr/local/bin/report": 0o755,
        "/etc/app/hook.sh": 0o755,
    }
    assert {file.owner for file in files.values()} == {"root:root"}


def test_of_several_patterns_the_last_wins(source: Path) -> None:
    plan = wanted(
        source,
        {"port": 80},
        modes={"/etc/app/*": "0600", "/etc/app/plain": "0444"},
        owners={"/etc/*": "www-data:www-data", "*.sh": "root:adm"},
    )
    files = {file.path: (oct(file.mode), file.owner) for file in plan.files}
    assert files["/etc/app/plain"] == ("0o444", "www-data:www-data")
    assert files["/etc/app/app.conf"] == ("0o600", "www-data:www-data")
    assert files["/etc/app/hook.sh"] == ("0o600", "root:adm")


def test_directories_on_the_way_are_only_held_to_what_was_said(source: Path) -> None:
    plan = wanted(source, {"port": 80}, directories=("/srv/data",), modes={"/srv/data": "2750"})
    directories = {each.path: each for each in plan.directories}
    assert directories["/etc"] == Directory("/etc")
    assert directories["/srv/data"] == Directory("/srv/data", 0o2750, None, declared=True)


def test_a_missing_variable_names_file_line_and_variable(source: Path) -> None:
    with pytest.raises(InputError) as error:
        wanted(source, {})
    assert f"{source}/etc/app/app.conf.j2: line 1: 'port' is undefined" in str(error.value)


def test_a_template_that_does_not_parse_names_file_and_line(source: Path) -> None:
    (source / "etc/app/app.conf.j2").write_text("fine\n{% if %}\n")
    with pytest.raises(InputError, match=r"app\.conf\.j2: line 2: Expected an expression"):
        wanted(source, {})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"generated": {"etc/x": ""}}, "etc/x: must be a plain absolute path"),
        ({"generated": {"/etc/../x": ""}}, "must be a plain absolute path"),
        ({"generated": {"/etc/app/plain": ""}}, "is both in the tree and generated"),
        ({"absent": ("/etc/app/plain",)}, "is both wanted and absent"),
        ({"modes": {"*": "u+x"}}, "'u\\+x' is not a mode"),
        ({"owners": {"*": "root"}}, "'root' is not like user:group"),
    ],
)
def test_what_cannot_be_meant_is_refused(source: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        wanted(source, {"port": 80}, **more)


def test_a_symlink_in_a_tree_is_refused(source: Path) -> None:
    (source / "etc/link").symlink_to("app")
    with pytest.raises(InputError, match="is a symlink"):
        wanted(source, {"port": 80})


def test_a_template_that_prints_a_secret_is_secret_by_itself(source: Path) -> None:
    with_token = wanted(source, {"port": 80, "token": SecretStr("hunter2hunter2")})
    assert [file.path for file in with_token.files if file.secret] == ["/etc/app/app.conf"]
    assert b"token hunter2hunter2\n" in next(file.content for file in with_token.files if file.secret)
    assert not any(file.secret for file in wanted(source, {"port": 80}).files)


def test_content_is_in_no_representation(source: Path) -> None:
    plan = wanted(source, {"port": 80, "token": SecretStr("hunter2hunter2")})
    assert "hunter2" not in repr(plan)
    command = program("tree", tree_plan.orders(tree_plan.plan(plan, {})))
    assert "hunter2" not in repr(command) + command.get_raw_value()
    assert len(command.get_raw_value()) < 200


def here(kind: str = "f", mode: int = 0o644, owner: str = "root:root", content: bytes = b"") -> Found:
    return Found(kind, kind, mode, owner, File("", content, 0, "").sha256 if kind == "f" else "")


ONE = Wanted((File("/etc/a", b"new", 0o644, "root:root"),), (Directory("/etc"),), (), (("/etc/*", "check"),))


@pytest.mark.parametrize(
    ("found", "why", "content"),
    [
        ({}, "new file", True),
        ({"/etc/a": here(content=b"old")}, "content", True),
        ({"/etc/a": here(content=b"new", mode=0o600)}, "mode 0600 -> 0644", False),
        ({"/etc/a": here(content=b"new", owner="eve:eve")}, "owner eve:eve -> root:root", False),
        ({"/etc/a": here(content=b"old", mode=0o777)}, "content, mode 0777 -> 0644", True),
    ],
)
def test_every_difference_of_a_file_is_a_change(found: dict[str, Found], why: str, content: bool) -> None:
    plan = tree_plan.plan(ONE, {"/etc": here("d", 0o700)} | found)
    assert [(change.path, change.why, change.content) for change in plan.changes] == [("/etc/a", why, content)]
    assert plan.validators == ("check",)
    sent = tree_plan.orders(plan)["files"]
    assert sent == [["/etc/a", 0o644, "root:root", False, "new" if content else None]]


def test_nothing_is_done_and_nothing_validated_when_nothing_differs() -> None:
    plan = tree_plan.plan(ONE, {"/etc": here("d", 0o700), "/etc/a": here(content=b"new")})
    assert plan == tree_plan.Plan((), (), ())


@pytest.mark.parametrize(("kind", "says"), [("d", "a directory"), ("l", "a symlink"), ("p", "a pipe")])
def test_what_is_no_file_is_never_replaced(kind: str, says: str) -> None:
    plan = tree_plan.plan(ONE, {"/etc": here("d"), "/etc/a": here(kind)})
    assert plan.conflicts == (f"/etc/a: {says} stands where a file goes; move it away by hand",)


def test_a_symlink_to_a_directory_serves_on_the_way_but_not_where_one_is_declared() -> None:
    link = Found("l", "d", 0o777, "root:root")
    assert tree_plan.plan(Wanted((), (Directory("/lib"),), (), ()), {"/lib": link}).conflicts == ()
    declared = Wanted((), (Directory("/lib", declared=True),), (), ())
    assert tree_plan.plan(declared, {"/lib": link}).conflicts != ()


def test_what_may_be_a_link_is_made_as_a_directory_and_left_as_a_link_that_leads_to_one() -> None:
    tree = wanted(linkable=("/srv/public",))
    assert [change.path for change in tree_plan.plan(tree, {"/srv": here("d")}).changes] == ["/srv/public"]
    found = {"/srv": here("d"), "/srv/public": Found("l", "d", 0o777, "web:web")}
    assert tree_plan.plan(tree, found) == tree_plan.Plan((), (), ())
    nowhere = found | {"/srv/public": Found("l", "N", 0o777, "web:web")}
    assert tree_plan.plan(tree, nowhere).conflicts != ()


def test_absent_removes_files_and_links_but_no_directory() -> None:
    gone = Wanted((), (), ("/a", "/b", "/c", "/d"), ())
    plan = tree_plan.plan(gone, {"/a": here(), "/b": here("l"), "/c": here("d")})
    assert [change.path for change in plan.changes] == ["/a", "/b"]
    assert plan.conflicts == ("/c: a directory stands where no file should be; remove it by hand",)


def look(paths: list[Path]) -> dict[str, Found]:
    """What the real command says of this machine."""
    output = subprocess.run(
        ["sh", "-c", facts.TreeLook().command()],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = facts.TreeLook().process(output.splitlines())
    assert lines is not None
    return tree_plan.parse(lines)


def test_one_look_tells_kind_mode_owner_and_hash_of_any_number_of_paths(tmp_path: Path) -> None:
    files = [tmp_path / f"a file {number}" for number in range(3000)]
    for file in files:
        file.write_text(file.name)
        file.chmod(0o640)
    (tmp_path / "link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = look([tmp_path, tmp_path / "link", tmp_path / "pipe", tmp_path / "missing", *files])
    assert found[str(tmp_path / "link")].kind + found[str(tmp_path / "link")].target_kind == "ld"
    assert found[str(tmp_path / "pipe")].kind == "p"
    assert str(tmp_path / "missing") not in found
    assert {found[str(file)].mode for file in files} == {0o640}
    for file in files:
        assert found[str(file)].sha256 == File("", file.name.encode(), 0, "").sha256


def test_what_is_written_is_what_was_looked_for(tmp_path: Path) -> None:
    """From planning to the program on the host and back, any byte included."""
    owner = f"{tmp_path.owner()}:{tmp_path.group()}"
    path, content = str(tmp_path / "new" / "any.bin"), bytes(range(256)) * 10
    plan = wanted(generated={path: content}, owners={"*": owner}, modes={path: "0640"})
    plan = Wanted(plan.files, (Directory(str(tmp_path / "new"), 0o750, owner),), (), ())
    first = tree_plan.plan(plan, look([tmp_path / "new", Path(path)]))
    packed = base64.b64encode(zlib.compress(json.dumps(tree_plan.orders(first)).encode()))
    on_host.apply(on_host.read_orders(packed))
    assert tree_plan.plan(plan, look([tmp_path / "new", Path(path)])).changes == ()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["any.bin"]


def test_a_file_that_cannot_be_written_leaves_all_others_as_they_were(tmp_path: Path) -> None:
    owner = f"{tmp_path.owner()}:{tmp_path.group()}"
    (tmp_path / "a").write_text("old")
    files = [
        on_host.File(tmp_path / "a", 0o644, owner, False, b"new"),
        on_host.File(tmp_path / "b", 0o644, "nobody-at-all:root", False, b"new"),
    ]
    with pytest.raises(on_host.Failure, match="accounts come before tree"):
        on_host.apply(on_host.Orders([], files, [], []))
    assert (tmp_path / "a").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_validator_that_quotes_a_secret_is_masked() -> None:
    secret = on_host.File(Path("/x"), 0o600, "root:root", True, b'password = "correct-horse"\nuser=me\n')
    orders = on_host.Orders([], [secret], [], [])
    assert on_host.mask('line 1: bad value "correct-horse" near me', orders) == 'line 1: bad value "*MASKED*" near me'


def test_a_difference_shows_lines_and_admits_what_is_not_text() -> None:
    assert "-b" in difference("/x", b"a\nb\n", b"a\nc\n")
    assert difference("/x", b"\xff", b"a") == ["/x: not text, 1 -> 1 bytes"]

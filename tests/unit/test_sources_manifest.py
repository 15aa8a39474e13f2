"""A `repo` manifest is read as `repo` reads it, and what is wrong with one is said with file and line."""

import random
import subprocess
from pathlib import Path

import pytest

from inventories.errors import InputError
from roles.gerrit.tools.sources.elements import LARGEST, Reader, of_commit, of_folder
from roles.gerrit.tools.sources.manifest import Manifest, Project, read

URL = "https://review.example.org/platform/manifest"
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<manifest>
  <remote name="aosp" fetch="https://aosp.example.org/" revision="refs/tags/android-16" />
  <remote name="own" fetch=".." />
  <default remote="own" revision="main" sync-j="4" />
"""
WHOLE = (
    HEAD
    + """
  <superproject name="platform/superproject" remote="aosp" />
  <contactinfo bugurl="https://bugs.example.org" />
  <project path="build" name="platform/build" groups="pdk,tradefed" remote="aosp" clone-depth="1">
    <linkfile src="CleanSpec.mk" dest="build/CleanSpec.mk" />
    <copyfile src="core/root.mk" dest="Makefile" />
  </project>
  <project name="device/maker/one" groups="device notdefault" revision="9f" />
  <!-- <project name="device/maker/two" /> -->
  <include name="parts/more.xml" groups="more" revision="next" />
  <extend-project name="device/maker/one" groups="device-one" revision="refs/heads/one" />
</manifest>
"""
)
MORE = """<manifest>
  <project name="vendor/a"/>
  <project name="vendor/b" revision="own"/>
</manifest>
"""


def reader(**files: str | bytes) -> Reader:
    """Files by name; `__` is a slash."""
    content = {name.replace("__", "/") + ".xml": text for name, text in files.items()}

    def get(name: str) -> bytes:
        try:
            text = content[name]
        except KeyError:
            raise FileNotFoundError("no such file") from None
        return text if isinstance(text, bytes) else text.encode()

    return get


def of(text: str, **files: str) -> Manifest:
    return read(reader(default=f"{HEAD}{text}\n</manifest>", **files), URL)


def named(manifest: Manifest, name: str) -> Project:
    [one] = [one for one in manifest.projects if one.name == name]
    return one


def test_projects_have_what_they_inherit() -> None:
    found = read(reader(default=WHOLE, parts__more=MORE), URL)
    assert [one.path for one in found.projects] == ["build", "device/maker/one", "vendor/a", "vendor/b"]
    build = named(found, "platform/build")
    assert (build.url, build.revision, build.depth) == (
        "https://aosp.example.org/platform/build",
        "refs/tags/android-16",
        1,
    )
    assert build.links == (("CleanSpec.mk", "build/CleanSpec.mk"), ("core/root.mk", "Makefile"))
    assert build.groups == {"pdk", "tradefed", "all", "name:platform/build", "path:build"}
    assert build.where == "default.xml, line 9"
    device = named(found, "device/maker/one")
    assert (device.url, device.revision) == ("https://review.example.org/device/maker/one", "refs/heads/one")
    assert {"device", "notdefault", "device-one"} < device.groups
    assert [(one.revision, "more" in one.groups) for one in found.projects[2:]] == [("next", True), ("own", True)]
    assert found.superproject
    assert found.superproject.url == "https://aosp.example.org/platform/superproject"
    assert found.contact == "https://bugs.example.org"


@pytest.mark.parametrize(
    ("groups", "selection", "expected"),
    [
        ("", "default", True),
        ("notdefault", "default", False),
        ("notdefault", "all", True),
        ("notdefault,x", "default,x", True),
        ("x", "default,-x", False),
        ("x", "-x,x", True),
        ("", "name:a/b", True),
        ("", "path:c", True),
        ("x", "default,-name:a/b", False),
    ],
)
def test_groups_are_chosen_as_repo_does(groups: str, selection: str, expected: bool) -> None:
    [project] = of(f'<project name="a/b" path="c" groups="{groups}"/>').projects
    assert project.is_in(selection) is expected


@pytest.mark.parametrize(
    ("fetch", "manifest", "expected"),
    [
        ("..", "https://h.example/platform/manifest", "https://h.example/p"),
        ("..", "https://h.example/manifest", "https://h.example/p"),
        (".", "https://h.example/a/manifest", "https://h.example/a/p"),
        ("../..", "ssh://me@h.example:29418/a/b/manifest", "ssh://me@h.example:29418/p"),
        ("..", "git@h.example:group/sub/manifest", "ssh://git@h.example/group/p"),
        ("https://o.example/x/", "https://h.example/manifest", "https://o.example/x/p"),
        ("/x", "https://h.example/a/manifest", "https://h.example/x/p"),
    ],
)
def test_a_relative_fetch_begins_at_the_manifests_address(fetch: str, manifest: str, expected: str) -> None:
    text = f'<manifest><remote name="r" fetch="{fetch}"/><project name="p" remote="r" revision="m"/></manifest>'
    manifest = manifest.replace("git@h.example:", "ssh://git@h.example/")
    assert read(reader(default=text), manifest).projects[0].url == expected


def test_projects_are_removed_by_name_by_path_or_by_both_and_may_come_back() -> None:
    found = of(
        """<project name="a"/><project name="b" path="b1"/><project name="b" path="b2"/><project name="c"/>
        <remove-project name="a"/><remove-project path="b1"/><remove-project name="c" path="c"/>
        <remove-project name="none" optional="true"/><project name="elsewhere" path="a"/>"""
    )
    assert [(one.name, one.path) for one in found.projects] == [("elsewhere", "a"), ("b", "b2")]


def test_a_project_is_changed_at_the_path_that_is_named() -> None:
    found = of(
        """<project name="a" path="1"/><project name="a" path="2"/>
        <extend-project name="a" path="2" dest-path="3" remote="aosp" revision="abc" groups="g"/>"""
    )
    first, second = found.projects
    assert (first.path, first.revision, first.remote) == ("1", "main", "own")
    assert (second.path, second.revision, second.url) == ("3", "abc", "https://aosp.example.org/a")
    assert "g" in second.groups - first.groups


def test_a_project_within_a_project_is_below_it() -> None:
    found = of('<project name="a" path="x"><project name="b" path="y"/></project>')
    assert [(one.name, one.path) for one in found.projects] == [("a", "x"), ("a/b", "x/y")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<project name="a" remote="nobody"/>', "line 6: remote 'nobody' is not there\n  known are aosp, own"),
        ('<project name="a"/>\n<project name="b" path="a"/>', "line 7: path 'a' is taken by the project of default"),
        ('<project name="a"/><project name="a"/>', "is taken by"),
        ('<project path="a"/>', "has no `name`"),
        ('<project name="../a"/>', "has the part '..'"),
        ('<project name="-a"/>', "begins with -"),
        ('<project name="a/-b"/>', "has the part '-b'"),
        ('<project name="/a"/>', "is absolute"),
        ('<project name="a//b"/>', "has the part ''"),
        ('<project name="a?b"/>', "has '?'"),
        ('<project name="a&#x9b;b"/>', "characters that nobody sees"),
        ('<project name="a&#x202e;b"/>', "characters that nobody sees"),
        ('<project name="a" path=".repo/hooks"/>', "has the part '.repo'"),
        ('<project name="a" path="b/.GIT"/>', "has the part '.git'"),
        ('<project name="a" revision="--upload-pack=x"/>', "begins with -"),
        ('<project name="a" revision="a..b"/>', "is no name of a branch"),
        ('<project name="a" clone-depth="0"/>', "no number above 0"),
        ('<project name="a"><linkfile src="x" dest="../../.bashrc"/></project>', "has the part '..'"),
        ('<remote name="own" fetch="https://other.example"/>', "is there already, with other attributes"),
        ('<remote name="r" fetch="https://me:secret@h.example"/>', "holds a name or a password"),
        ('<remote name="r" fetch="ext::sh -c date"/>', "fetch of 'r'"),
        ('<remote name="r" fetch="https://[::1"/>', "is no address"),
        ('<default remote="aosp" revision="x"/>', "differs from the one in default.xml, line 5"),
        ('<default remote="own" revision="main" sync-j="4"/><default/><x/><remove-project/>', "neither `name` nor"),
        ('<remove-project name="a"/>', "there is no project 'a' before it"),
        ('<remove-project name="a" optional="false"/>', "there is no project 'a' before it"),
        ('<extend-project name="a"/><project name="a"/>', "there is no project 'a' before it"),
        (
            '<project name="a" path="1"/><project name="a" path="2"/><extend-project name="a" dest-path="3"/>',
            "moves 2",
        ),
        ('<project name="a"/><extend-project name="a" base-rev="other" revision="x"/>', "base-rev is 'other', but"),
        ('<include name="../../etc/passwd"/>', "has the part '..'"),
        ('<include name="/etc/passwd"/>', "is absolute"),
        ('<include name="gone.xml"/>', "<include>, line 6: gone.xml cannot be read"),
        ('<include name="default.xml"/>', "default.xml -> default.xml is a circle"),
        ("<superproject name='s'/><superproject name='t'/>", "is the second one"),
        ("<submanifest name='s'/>", "audit that manifest by itself"),
        ("<project name='a'>", "is no XML: mismatched tag"),
        ("<project name='&lol;'/>", "undefined entity"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        of(text)
    assert said in str(caught.value)
    assert "default.xml: " in str(caught.value)
    assert "secret" not in str(caught.value)


BOMB = """<!DOCTYPE manifest [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<manifest><project name="&b;"/></manifest>"""
OUTSIDE = """<!DOCTYPE manifest SYSTEM "file:///etc/passwd"><manifest/>"""


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
def test_nothing_expands_and_nothing_else_is_opened(text: str) -> None:
    with pytest.raises(InputError, match="document types and entities are not read"):
        read(reader(default=text), URL)


def test_includes_that_lead_to_each_other_or_grow_without_end_are_refused() -> None:
    with pytest.raises(InputError, match=r"default.xml -> a.xml -> b.xml -> a.xml is a circle"):
        of(
            '<include name="a.xml"/>',
            a='<manifest><include name="b.xml"/></manifest>',
            b='<manifest><include name="a.xml"/></manifest>',
        )
    twice = "<manifest><include name='i{0}.xml'/><include name='i{0}.xml'/></manifest>"
    doubling = {f"i{number}": twice.format(number + 1) for number in range(12)}
    with pytest.raises(InputError, match="more than 200 files"):
        of('<include name="i0.xml"/>', **doubling, i12="<manifest/>")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no XML"),
        (b"<a/>", "<a>, line 1: found where <manifest> is expected"),
        (b"<manifest>" + b"<a>" * 100, "more than 16 deep"),
        (b" " * (LARGEST + 1), "more than 16,777,216"),
        (b'<?xml version="1.0" encoding="punycode"?><manifest/>', "is no XML"),
        (b"\xff\xfe\x00", "is no XML"),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=r"default\.xml") as caught:
        read(reader(default=content), URL)
    assert said in str(caught.value)


def test_a_folder_and_a_commit_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "default.xml").write_text(WHOLE)
    (tmp_path / "parts/more.xml").write_text(MORE)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x")):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    folder, commit = of_folder(tmp_path), of_commit(tmp_path / ".git", "HEAD")
    assert read(folder, URL) == read(commit, URL)
    with pytest.raises(InputError, match=r"gone.xml cannot be read"):
        read(commit, URL, "gone.xml")
    (tmp_path / "default.xml").unlink()
    (tmp_path / "default.xml").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="leads out of"):
        read(folder, URL)


PIECES: tuple[bytes, ...] = (
    b"<",
    b">",
    b'"',
    b"&",
    b"..",
    b"-",
    b"\x00",
    b"\xff",
    b"<include name='default.xml'/>",
    b"<project ",
    b"]]>",
)
PIECES += (b"revision=", b"https://[", b"<!DOCTYPE a>", b"</manifest>", b"remote='x'", b"\xc2\x9b", b"git@h:x", b"~")


def test_whatever_bytes_change_nothing_but_the_one_error_comes_out() -> None:
    chance = random.Random(7)
    read_well = 0
    for _ in range(3000):
        content = bytearray(WHOLE.encode())
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content))
            upto = at + chance.choice((0, 1, chance.randint(0, 60)))
            content[at:upto] = chance.choice((*PIECES, bytes([chance.randrange(256)])))
        try:
            read(reader(default=bytes(content), parts__more=MORE), URL)
        except InputError:
            continue
        read_well += 1
    assert 100 < read_well < 2900

"""What a drill proves of a website: each check passes on a good copy, and fails on what it is there for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.drills.checks import File, NotJudged
from lab import sample
from roles.web.archive import digest
from roles.web.drill import DRILL
from roles.web.settings import Settings
from tests.unit.restored_copy import (
    NEVER_MISSING,
    SERVES_ALL,
    Copy,
    failure,
    listing,
    must_be_found,
    plant,
    restored,
    run,
)

SETTINGS = Settings(
    redirects={"/get": "/docs/install", "/legal/": "/about", "/releases": "https://release.example.org/"}
)
PUBLIC = "releases/20261126-120000-abcdef01/public"
MESSAGE = f"{PUBLIC}/.messages/latest.txt"
FAULTS = [one.name for one in DRILL.faults]
SITEMAP = """<?xml version="1.0"?><urlset>
<url><loc>https://example.org/about</loc></url><url><loc> https://example.org/docs/ </loc></url>
<url><loc>https://example.org/get</loc></url></urlset>
"""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("web")
    sample.website(root / PUBLIC)
    (root / "public").symlink_to(PUBLIC)
    (root / "public/.git").mkdir()
    (root / "public/.git/HEAD").write_text("ref: refs/heads/main\n")
    (root / "public/sitemap.xml").write_text(SITEMAP)
    body = '<a href="install">x</a><a href="/about#top">x</a><img src="../assets/img/logo.svg"><a href="/dead">x</a>'
    (root / "public/docs/caf\u00e9 & tea.html").write_text(f"<html>{body}<a href='https://example.com/'>x</a></html>")
    manifest(root)
    return root


def manifest(root: Path) -> None:
    """As its publisher would have made it."""
    files = [path for path in (root / PUBLIC).rglob("*") if path.is_file()]
    sums = [{"path": str(path.relative_to(root / PUBLIC)), "sha256": digest(path.read_bytes())} for path in files]
    (root / PUBLIC).with_name("manifest.json").write_text(json.dumps({"files": sums}))


@pytest.fixture(scope="module")
def listed(pristine: Path) -> list[File]:
    return listing(pristine)


@pytest.fixture
def copy(pristine: Path, listed: list[File], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copy]:
    with restored(tmp_path, pristine, SETTINGS, monkeypatch, listed) as made:
        yield made


def test_every_check_passes_on_a_good_copy_and_says_what_it_saw(copy: Copy) -> None:
    for one in DRILL.checks:
        assert one.run(copy).told, one.name


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_by_the_check_that_is_there_for_it(copy: Copy, name: str) -> None:
    must_be_found(DRILL, name, copy)


def test_all_pages_are_asked_for_and_the_map(copy: Copy) -> None:
    assert run(DRILL, "pages", copy).told == ("5 pages as on the host, 2 addresses of sitemap.xml",)


def test_a_missing_page_is_named_with_its_address(copy: Copy) -> None:
    copy.file("public/about.html").unlink()
    said = failure(DRILL, "pages", copy)
    assert "public/about.html: /about answers 404 as nothing" in said
    assert "sitemap.xml: /about answers 404" in said
    assert "/about: redirects lead there, and it answers 404" in failure(DRILL, "redirects", copy)


def test_a_page_that_is_not_a_page_is_named(copy: Copy) -> None:
    copy.file("public/about.html").rename(copy.file("public/about"))
    assert "public/about.html: /about answers 200 as text/plain" in failure(DRILL, "pages", copy)


def test_pages_are_another_sites(copy: Copy) -> None:
    plant(DRILL, "another site", copy)
    assert "public/index.html: is served with another content than lies on the host" in failure(DRILL, "pages", copy)
    assert "404" in failure(DRILL, "message", copy)
    assert "is not answered by the site's own 404.html" in failure(DRILL, "not_found", copy)


def test_what_was_published_otherwise_or_not_at_all_is_named(copy: Copy) -> None:
    assert run(DRILL, "published", copy).told == ("13 files, as the manifest of 20261126-120000-abcdef01 has them",)
    copy.file("public/about.html").write_text("another")
    copy.file("public/new.html").write_text("x")
    copy.relisted()
    said = failure(DRILL, "published", copy)
    assert "public/about.html: is not what was published" in said
    assert "public/new.html: was not published" in said


def test_a_website_that_was_never_published_is_not_judged_by_a_manifest(copy: Copy) -> None:
    copy.file("public").unlink()
    copy.file(PUBLIC).rename(copy.file("public"))
    copy.relisted()
    with pytest.raises(NotJudged, match="no release"):
        run(DRILL, "published", copy)
    assert run(DRILL, "pages", copy).told
    assert run(DRILL, "dots", copy).told


def test_a_redirect_that_leads_elsewhere_is_named(copy: Copy) -> None:
    copy.settings = Settings(redirects={"/get": "/docs/", "/new": "/about"})
    said = failure(DRILL, "redirects", copy)
    assert "/get: answers 301 /docs/install, not 301 /docs/" in said
    assert "/new: answers 404 , not 301 /about" in said


def test_the_message_is_the_one_in_the_snapshot_bit_by_bit(copy: Copy) -> None:
    plant(DRILL, "flipped byte", copy)
    run(DRILL, "files", copy)
    assert failure(DRILL, "message", copy) == f"{MESSAGE}: is not what the snapshot has"


def test_without_a_message_it_is_not_judged(copy: Copy) -> None:
    copy.file(MESSAGE).unlink()
    copy.relisted()
    with pytest.raises(NotJudged, match=r"latest\.txt"):
        run(DRILL, "message", copy)


def test_links_are_followed_and_those_that_were_dead_before_are_told_apart(copy: Copy) -> None:
    told = run(DRILL, "assets", copy).told
    assert told[0] == "5 addresses that 5 pages link to"
    assert told[1].startswith(f"1 link to what the snapshot has not either: /dead (from {PUBLIC}/docs/")
    copy.file("public/assets/img/logo.svg").unlink()
    assert f"/assets/img/logo.svg (from {PUBLIC}/docs/" in failure(DRILL, "assets", copy)


def test_a_page_for_what_is_missing_that_comes_with_200_is_named(copy: Copy) -> None:
    copy.serves(NEVER_MISSING)
    assert "/no/such/page: answers 200, not 404" in failure(DRILL, "not_found", copy)


def test_a_site_without_its_own_page_for_what_is_missing_answers_404(copy: Copy) -> None:
    copy.file("public/404.html").unlink()
    copy.relisted()
    assert "no page of its own" in run(DRILL, "not_found", copy).told[0]


def test_hidden_files_that_are_served_are_named(copy: Copy) -> None:
    copy.file("public/.htaccess").write_text("x")
    copy.relisted()
    assert run(DRILL, "dots", copy).told == ("2 hidden paths of 2 folders answer 404",)
    copy.serves(SERVES_ALL)
    said = failure(DRILL, "dots", copy)
    assert "public/.htaccess: answers 200, not 404" in said
    assert "public/.git/HEAD: answers 200, not 404" in said

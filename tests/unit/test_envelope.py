"""`mainstay secrets envelope` and `recover`: the secrets open by what is on paper when no admin's key does."""

from pathlib import Path

import pyrage
import pytest

from backup.envelope import letter, opening, sealing
from doctor import site as doctor
from doctor.told import State, Told
from inventories import departed, editing, envelope, identities, secrets
from inventories.errors import InputError
from tests.envelopes import COPY, quick_to_lock, sheets, with_copy
from tests.people_site import VALUES, Place, killed, made


@pytest.fixture(scope="module")
def folk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for name in ("alice", "bob", "carol"):
        made(folder, name)
    return folder


@pytest.fixture
def place(tmp_path: Path, folk: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv(identities.VARIABLE, str(folk / "alice"))
    monkeypatch.setenv("MAINSTAY_INVENTORY", str(tmp_path / "site.toml"))
    return Place(tmp_path, folk)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_to_lock(monkeypatch)


def seal(place: Place, *words: str, out: str = "paper") -> Path:
    folder = place.inventory.parent / out
    done = place.run("envelope", "--out", str(folder), *words)
    assert done.exit_code == 0, (done.output, done.exception)
    return folder


def typed(place: Place, *texts: str) -> str:
    """The name of a file that these were typed into."""
    path = place.inventory.parent / "typed"
    path.write_text("\n".join(texts))
    return str(path)


def told(place: Place) -> Told:
    (one,) = doctor.envelope(place.site)
    return one


def test_with_no_admins_key_the_paper_opens_all_and_somebody_new_comes(
    place: Place, folk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = sheets(seal(place) / "key.html")["KEY"]
    monkeypatch.setenv(identities.VARIABLE, str(folk / "carol"))
    identity = place.inventory.parent / "identity"
    done = place.run("recover", typed(place, lines), "--out", str(identity))
    assert (done.exit_code, identity.stat().st_mode & 0o777) == (0, 0o600), done.output
    assert f"export {identities.VARIABLE}={identity}" in done.output
    monkeypatch.setenv(identities.VARIABLE, str(identity))
    assert place.admin("add", "carol", "--key", folk / "carol.pub").exit_code == 0
    assert place.read_by("carol") == VALUES
    assert isinstance(place.run("recover", typed(place, lines), "--out", str(identity)).exception, InputError)


@pytest.mark.usefixtures("quick")
def test_shares_open_it_and_one_alone_does_not(place: Place) -> None:
    folder = seal(place, "--shares", "2/3")
    assert sorted(page.name for page in folder.iterdir()) == [f"share-{one}-of-3.html" for one in (1, 2, 3)]
    first, _, third = (sheets(page)[page.stem.upper()] for page in sorted(folder.iterdir()))
    assert "all 2 secrets open by it" in place.run("recover", typed(place, third, first)).output
    error = place.run("recover", typed(place, third)).exception
    assert "too few shares: 1 of the 2" in str(error)


def test_only_the_pages_have_what_is_secret_and_only_this_user_reads_them(place: Place) -> None:
    folder = place.inventory.parent / "paper"
    done = place.run("envelope", "--out", str(folder))
    (page,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, page.stat().st_mode & 0o777) == (0o700, 0o600)
    digits = [word for line in sheets(page)["KEY"].splitlines()[1:] for word in line.split()[1:-1]]
    assert len("".join(digits)) == 32
    opened = opening.open_typed("typed", sheets(page)["KEY"], place.site).text
    said = done.output + "".join(path.read_text() for path in place.files.iterdir())
    assert not [secret for secret in (" ".join(digits[:2]), "".join(digits), "AGE-SECRET-KEY-") if secret in said]
    assert "AGE-SECRET-KEY-" in opened
    assert "AGE-SECRET-KEY-" not in page.read_text()


@pytest.mark.usefixtures("quick")
def test_who_comes_and_goes_and_whatever_is_encrypted_anew_leaves_the_envelope_its_key(
    place: Place, folk: Path
) -> None:
    lines = sheets(seal(place) / "key.html")["KEY"]
    assert place.admin("add", "carol", "--key", folk / "carol.pub").exit_code == 0
    assert place.admin("remove", "bob").exit_code == 0
    assert place.run("rekey").exit_code == 0
    place.put(another="value")
    assert secrets.stale(place.site.secrets.entries, place.site.readers) == ()
    assert "all 3 secrets open by it" in place.run("recover", typed(place, lines)).output
    assert told(place).state == State.OK
    assert envelope.READER not in departed.read(place.files)


@pytest.mark.usefixtures("quick")
def test_a_secret_that_it_does_not_open_is_told_by_doctor_and_by_trying(place: Place) -> None:
    assert (told(place).state, "none is sealed" in told(place).says) == (State.NOTE, True)
    lines = sheets(seal(place) / "key.html")["KEY"]
    site = place.site
    admins = {name: lines for name, lines in site.readers.items() if name != envelope.READER}
    editing.apply(site.secrets.path, site.secrets.entries, {"token": editing.Plain("new")}, admins)
    assert (told(place).state, "does not open 1 secret: token" in told(place).says) == (State.WRONG, True)
    assert told(place).mend.startswith("mainstay secrets rekey")
    done = place.run("recover", typed(place, lines))
    assert (done.exit_code, "token: none of your keys" in done.output) == (1, True)


@pytest.mark.usefixtures("quick")
def test_readers_that_lie_are_found_by_trying(place: Place) -> None:
    lines = sheets(seal(place) / "key.html")["KEY"]
    site = place.site
    entry = secrets.encrypt(site.secrets.path, "token", "new", {"alice": site.readers["alice"]})
    lying = entry.model_copy(update={"readers": site.secrets.entries["token"].readers})
    secrets.write(site.secrets.path, {**site.secrets.entries, "token": lying})
    done = place.run("recover", typed(place, lines))
    assert (done.exit_code, "token: is damaged, or was not encrypted to" in done.output) == (1, True)


@pytest.mark.usefixtures("quick")
def test_an_envelope_of_long_ago_is_told(place: Place) -> None:
    seal(place)
    record = envelope.read(place.files)
    assert record
    envelope.write(
        place.files, record.model_copy(update={"sealed": record.sealed.replace(year=record.sealed.year - 2)})
    )
    assert (told(place).state, "older than a year" in told(place).says) == (State.NOTE, True)


@pytest.fixture
def copied(place: Place) -> Place:
    with_copy(place)
    return place


@pytest.mark.usefixtures("quick")
def test_the_letter_leads_to_the_repository_and_is_outdated_by_what_replaces_what_it_has(
    copied: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = seal(copied) / "key.html"
    opened = opening.open_typed("typed", "\n".join(sheets(page).values()), None)
    password = copied.site.secrets["backup_control_1_control"].get_secret_value()
    assert opened.environment == {
        "RESTIC_REPOSITORY": "s3:https://s3.example.net/backups/control-1/control",
        "RESTIC_PASSWORD": password,
        "AWS_ACCESS_KEY_ID": COPY["copy_access_key"],
        "AWS_SECRET_ACCESS_KEY": COPY["copy_secret_key"],
        "AWS_DEFAULT_REGION": "eu",
    }
    assert not [secret for secret in (password, *COPY.values()) if secret in page.read_text()]
    with monkeypatch.context() as nobody:
        nobody.setenv(identities.VARIABLE, "/nowhere")
        assert list(opening.differences(copied.site, opened)) == []
    copied.put(secrets.CONTROL, copy_secret_key="another")
    assert list(opening.differences(copied.site, opened)) == [
        "the letter's AWS_SECRET_ACCESS_KEY is not what it is today"
    ]
    departed.strike(copied.secrets, ["copy_secret_key", "token"])
    assert (told(copied).state, told(copied).says.endswith("old values of: copy_secret_key")) == (State.WRONG, True)
    copied.inventory.write_text(copied.inventory.read_text().replace("s3.example.net", "s3.example.com"))
    envelope_before = copied.content()[envelope.FILE]
    departed.strike(copied.secrets, ["token"])
    assert copied.content()[envelope.FILE] == envelope_before
    seal(copied, out="again")
    assert told(copied).state == State.OK


@pytest.mark.usefixtures("quick")
def test_a_letter_that_leads_elsewhere_is_told(copied: Place) -> None:
    seal(copied)
    copied.inventory.write_text(copied.inventory.read_text().replace("s3.example.net", "s3.example.com"))
    assert (told(copied).state, "says that the repository is at s3:" in told(copied).says) == (State.WRONG, True)


@pytest.mark.usefixtures("quick")
def test_what_the_letter_needs_and_cannot_have_is_refused(copied: Place) -> None:
    before = copied.content()
    copied.put(secrets.CONTROL, copy_secret_key="two words")
    assert letter.address(copied.site)
    done = copied.run("envelope", "--out", str(copied.inventory.parent / "paper"))
    assert "copy_secret_key: cannot be printed" in str(done.exception)
    assert copied.content().keys() == before.keys()


def test_nothing_is_written_when_it_is_refused(place: Place, folk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, full = place.content(), place.inventory.parent / "full"
    full.mkdir()
    (full / "file").touch()
    monkeypatch.setattr(pyrage.passphrase, "encrypt", None)  # whoever comes to it is too late
    for words, problem in (
        (("--out", str(full)), "is not an empty folder"),
        (("--out", "o", "--shares", "3/2"), "is no number of shares"),
        (("--out", "o", "--shares", "1/3"), "is no number of shares"),
        (("--out", "o", "--shares", "2/17"), "is no number of shares"),
    ):
        assert problem in str(place.run("envelope", *words).exception)
    monkeypatch.setenv(identities.VARIABLE, str(folk / "carol"))
    assert "can be read by: alice" in str(place.run("envelope", "--out", "o").exception)
    assert place.content() == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("module", "name", "recorded"),
    [(sealing, "replace", False), (envelope, "write", False), (editing, "apply", True), (secrets, "replace", True)],
)
def test_killed_anywhere_nothing_is_half_encrypted_and_rekey_ends_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, module: object, name: str, recorded: bool
) -> None:
    old = sheets(seal(place) / "key.html")
    before = place.secrets.read_bytes()
    killed(monkeypatch, module, name, lambda: seal(place, out="again"))
    assert place.secrets.read_bytes() == before
    assert place.read_by("alice") == VALUES
    lines = "\n".join(old.values())
    if not recorded:
        assert told(place).state == State.OK
        assert "all 2 secrets open by it" in place.run("recover", typed(place, lines)).output
        return
    new = sheets(place.inventory.parent / "again/key.html")["KEY"]
    assert told(place).state == State.WRONG
    assert "all 2 secrets open by it" in place.run("recover", typed(place, lines)).output
    assert place.run("recover", typed(place, new)).exit_code == 1
    assert place.run("rekey").exit_code == 0
    assert "all 2 secrets open by it" in place.run("recover", typed(place, new)).output
    assert place.run("recover", typed(place, lines)).exit_code == 1


@pytest.mark.usefixtures("quick")
def test_an_envelope_before_this_one_is_known_for_what_it_is(place: Place) -> None:
    old = sheets(seal(place) / "key.html")
    new = sheets(seal(place, out="again") / "key.html")
    assert "the repository has the letter of" in str(place.run("recover", typed(place, old["KEY"])).exception)
    assert "sheets of two envelopes" in str(place.run("recover", typed(place, old["KEY"], new["LETTER"])).exception)


@pytest.mark.usefixtures("quick")
def test_an_envelope_that_was_stolen_is_one_who_has_left(place: Place) -> None:
    seal(place)
    (place.files / envelope.FILE).unlink()
    assert "envelope has been able to read these" in place.run("rekey").output
    assert departed.read(place.files)[envelope.READER].knows == tuple(sorted(VALUES))
    assert secrets.stale(place.site.secrets.entries, place.site.readers) == ()


def test_nobody_can_be_called_like_it(place: Place, folk: Path) -> None:
    error = place.admin("add", envelope.READER, "--key", folk / "carol.pub").exception
    assert "system account" in str(error)

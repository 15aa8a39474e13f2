"""What is wrong with a bundle: one that is small, signed by a real key, and spoilt in each way."""

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bundle import contents, lock, openpgp, verifying
from bundle.contents import About
from bundle.lock import Package
from bundle.verifying import Verdict, Wrong

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
WHEN = 1_700_000_000
PACKAGE = Package("chrony", "4.6-1", "amd64", "a" * 64)
DEB = f"apt/{PACKAGE.file}"
ABOUT = About("off", "base", "off-1", "inventories/off.py", "inventories/off", "c" * 40, str(WHEN))


def keyring(secret: Ed25519PrivateKey) -> bytes:
    return openpgp.certificate(secret, WHEN, "Bundles")


def tar(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        member = tarfile.TarInfo(f"{ABOUT.files}/bundle.lock")
        member.size = len(text)
        made.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def index(package: Package) -> str:
    fields = ("Package", "Version", "Architecture", "SHA256")
    return "".join(f"{name}: {value}\n" for name, value in zip(fields, str(package).split(), strict=True))


def sign(folder: Path, secret: Ed25519PrivateKey = SECRET) -> None:
    """As it lies there, as `make` does."""
    for name in (contents.SUMS, contents.SIGNATURE):
        (folder / name).unlink(missing_ok=True)
    sums = contents.sums({name: verifying._hash(folder / name, lambda _: None) for name in contents.files(folder)})
    (folder / contents.SUMS).write_text(sums)
    [key] = openpgp.keyring(keyring(secret))
    (folder / contents.SIGNATURE).write_bytes(openpgp.sign(secret, key, sums.encode(), WHEN))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "apt").mkdir(parents=True)
    text = lock.text({"base": lock.locked(["chrony"], [PACKAGE])})
    (folder / DEB).write_bytes(b"a package")
    (folder / "apt/Packages").write_text(index(PACKAGE))
    (folder / "bundle.lock").write_text(text)
    (folder / "source.tar").write_bytes(tar(text))
    (folder / "about").write_text(ABOUT.text())
    (folder / "bundle.pgp").write_bytes(keyring(SECRET))
    (folder / "verify").write_bytes((contents.MEDIUM / "verify").read_bytes())
    sign(folder)
    return folder


def verdict(folder: Path) -> Verdict:
    return verifying.verify(folder, openpgp.keyring(keyring(SECRET)))


def own(folder: Path, *words: str) -> tuple[int, str]:
    """What the verifier says that the bundle carries."""
    done = subprocess.run(["sh", folder / "verify", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def changed(folder: Path) -> None:
    (folder / DEB).write_bytes(b"b package")


def missing(folder: Path) -> None:
    (folder / DEB).unlink()


def added(folder: Path) -> None:
    (folder / "apt/a b.deb").touch()


def linked(folder: Path) -> None:
    (folder / DEB).rename(folder.parent / "elsewhere")
    (folder / DEB).symlink_to(folder.parent / "elsewhere")


def unsigned(folder: Path) -> None:
    (folder / contents.SIGNATURE).unlink()


def unknown(folder: Path) -> None:
    sign(folder, OTHER)


SPOILT: list[tuple[Callable[[Path], None], Wrong, str, int]] = [
    (changed, Wrong.CHANGED, DEB, 62),
    (missing, Wrong.MISSING, DEB, 63),
    (added, Wrong.ADDED, "apt/a b.deb", 64),
    (linked, Wrong.CHANGED, DEB, 63),
    (unsigned, Wrong.UNSIGNED, contents.SIGNATURE, 60),
    (unknown, Wrong.SIGNER, contents.SIGNATURE, 61),
]


def test_a_whole_bundle_is_right_and_says_what_it_is(bundle: Path) -> None:
    found = verdict(bundle)
    assert (found.code, found.problems, found.about) == (0, [], ABOUT)
    assert found.signer == openpgp.keyring(keyring(SECRET))[0].fingerprint
    code, said = own(bundle)
    assert (code, said) == (0, f"bundle: signed by {found.signer}\n")


@pytest.mark.parametrize(("spoil", "wrong", "path", "own_code"), SPOILT)
def test_what_was_done_to_a_bundle_is_named(
    bundle: Path, spoil: Callable[[Path], None], wrong: Wrong, path: str, own_code: int
) -> None:
    spoil(bundle)
    found = verdict(bundle)
    assert [(one.wrong, one.path) for one in found.problems] == [(wrong, path)]
    assert found.code == wrong
    (bundle.parent / "known.pgp").write_bytes(keyring(SECRET))
    code, said = own(bundle, str(bundle.parent / "known.pgp"))
    assert code == own_code
    assert path in said


def test_sums_that_were_made_to_fit_are_not_those_that_were_signed(bundle: Path) -> None:
    signature = (bundle / contents.SIGNATURE).read_bytes()
    changed(bundle)
    sign(bundle)
    (bundle / contents.SIGNATURE).write_bytes(signature)
    assert [(one.wrong, one.path) for one in verdict(bundle).problems] == [(Wrong.CHANGED, contents.SUMS)]
    assert own(bundle)[0] == 61


def test_a_name_that_leads_out_of_the_bundle_is_refused(bundle: Path) -> None:
    with (bundle / contents.SUMS).open("a") as out:
        out.write(f"{'a' * 64}  ../elsewhere\n")
    assert {one.wrong for one in verdict(bundle).problems} == {Wrong.CHANGED}


def test_a_repository_that_is_not_what_was_locked_is_found_though_it_is_signed(bundle: Path) -> None:
    (bundle / "apt/Packages").write_text(index(Package("chrony", "4.5-1", "amd64", "a" * 64)))
    sign(bundle)
    [problem] = verdict(bundle).problems
    assert (problem.wrong, problem.path) == (Wrong.LOCK, "bundle.lock")
    assert "chrony 4.6-1 -> 4.5-1" in problem.why


def test_a_lock_that_is_not_the_commits_is_found_though_it_is_signed(bundle: Path) -> None:
    text = lock.text({"base": lock.locked(["chrony"], [Package("chrony", "4.7-1", "amd64", "b" * 64)])})
    (bundle / "source.tar").write_bytes(tar(text))
    sign(bundle)
    [problem] = verdict(bundle).problems
    assert (problem.wrong, "is not that of the commit" in problem.why) == (Wrong.LOCK, True)


def test_of_several_things_the_gravest_is_the_exit_code(bundle: Path) -> None:
    added(bundle)
    missing(bundle)
    assert [one.wrong for one in verdict(bundle).problems] == [Wrong.MISSING, Wrong.ADDED]
    assert (verdict(bundle).code, own(bundle)[0]) == (63, 63)


def test_a_clock_before_the_bundles_time_is_told_as_what_it_is(bundle: Path) -> None:
    (bundle / "about").write_text(ABOUT.text().replace(str(WHEN), "4000000000"))
    sign(bundle)
    code, said = own(bundle)
    assert (code, "clock says" in said) == (2, True)


@pytest.mark.parametrize("text", ["", "SITE='x'\n", ABOUT.text() + "MORE='x'\n", "SITE=x\n"])
def test_what_says_not_what_it_is_of_is_no_bundle(text: str) -> None:
    with pytest.raises(ValueError, match=r"says|is not"):
        About.parse(text)

"""Whatever is wrong with a release is found, and nothing else is."""

import re

import pytest

from roles.release.tools.ota_metadata import METADATA, PAYLOAD, PROPERTIES
from tests.unit.releases import FACTORY, FULL, INCREMENTAL, NEW, OLD, Release, good, one, said
from tests.unit.spoilt_releases import (
    LINE,
    SUM,
    Spoil,
    bad_certificate,
    base,
    by_another_key,
    cut,
    flipped,
    linked,
    longer,
    meta,
    move,
    no_certificate,
    no_full,
    of_another,
    other_base,
    other_name,
    patched_less,
    piped,
    put,
    renamed,
    rotten,
    sparse,
    spoil,
    unsigned,
    without,
)

__all__ = ["good", "one"]


TWIN = f"{INCREMENTAL}: metadata post-build: .*, as {FULL}"
LISTED = "metadata ota-(streaming-)?property-files: found payload.*; expected a member"
PATCH = "post-security-patch-level"
DAMAGE: dict[str, tuple[Spoil, *tuple[str, ...]]] = {
    # names and layout
    "a foreign file": (put("notes.txt", "x"), "notes.txt: name: found a file that does not belong"),
    "a hidden file": (
        put("ota/panther/16/.x.zip.swp", "x"),
        r"\.swp: name: found .x.zip.swp; expected DEVICE-ota_update",
    ),
    "a foreign folder": (put("ota/panther/16/old/x", "x"), "16/old: file: found a folder that does not belong"),
    "a file in a folder's place": (put("ota/panther/17", "x"), "panther/17: name: found 17; expected DEVICE-CHANNEL"),
    "a symbolic link": (linked, f"{LINE}: file: found a symbolic link; expected files and folders"),
    "a FIFO": (piped, r"\.zip: file: found a FIFO"),
    "a control character": (put("ota/panther/a\nb", "x"), r"panther/a\\nb: name: found a\\nb"),
    "another device": (
        move("ota/panther/panther-beta", "ota/shiba/panther-beta"),
        "shiba/panther-beta: name: found device panther in the folder of shiba; expected shiba",
    ),
    "another kind's folder": (
        put("factory/panther/16/panther-ota_update-1.zip", "x"),
        r"name: found panther-ota_update-1.zip below factory/; expected it below ota/",
    ),
    "no such channel": (
        put("ota/panther/panther-stabel", NEW.line),
        "name: found panther-stabel; expected DEVICE-CHANNEL",
    ),
    "from itself": (put("ota/panther/16/panther-incremental-1-1.zip", "x"), "found an incremental from 1 to itself"),
    # channel lines
    "no line": (put(LINE, "later"), "stable: channel: found what is not one line BUILD TIMESTAMP ANDROID: 'later'"),
    "two lines": (put(LINE, NEW.line * 2), "stable: channel: found what is not one line"),
    "no text": (put(LINE, b"\xff\xfe"), "stable: channel: found bytes that are no text"),
    "a path for a build": (put(LINE, "../../x 1785977859 16\n"), r"stable: channel BUILD: found \.\./\.\./x"),
    "a path for a version": (
        put(LINE, f"{NEW.number} {NEW.timestamp} ../16\n"),
        r"stable: channel ANDROID: found \.\./16",
    ),
    "a line of 1 GiB": (sparse(LINE), "stable: file: found more than 256 bytes"),
    "another time": (
        put(LINE, f"{NEW.number} {NEW.timestamp + 1} 16\n"),
        f"stable: TIMESTAMP: found {NEW.timestamp + 1}; expected {NEW.timestamp}, the post-timestamp of ",
    ),
    "an empty changelog": (put(f"{LINE}-changelog.html", " "), "changelog: found nothing; expected text"),
    "a changelog in Latin-1": (put(f"{LINE}-changelog.html", b"\xe9"), "changelog: found bytes that are no text"),
    "a changelog of factory": (
        put("ota/panther/panther-factory-changelog.html", "x"),
        "expected no changelog of factory",
    ),
    # checksums
    "no checksum": (without(SUM), f"{FULL}: checksum: found no panther-ota_update-{NEW.number}.zip.sha256sum"),
    "a checksum of others": (
        put(SUM, f"{'0' * 64}\n"),
        f"{SUM}: checksum: found {'0' * 64}; expected [0-9a-f]{{64}}, the",
    ),
    "a checksum by another name": (
        lambda one: one.write(SUM, (one.folder / SUM).read_text().replace("panther", "panthar")),
        f"{SUM}: checksum: found the name panthar-ota_update-{NEW.number}.zip; expected panther-ota",
    ),
    "a checksum in words": (put(SUM, "good\n"), f"{SUM}: checksum: found what is neither HASH  NAME nor a bare hash"),
    "a checksum of 1 GiB": (sparse(SUM), f"{SUM}: file: found more than 1,024 bytes"),
    "a checksum of nothing": (
        put(f"ota/panther/16/panther-ota_update-{OLD.number}.zip.sha256sum", "0" * 64),
        "sha256sum: name: found a checksum alone",
    ),
    # zips
    "a package that was cut": (cut, f"{FULL}: zip: found no end record"),
    "bytes after a package": (longer, f"{FULL}: zip: found no end record; expected a zip that is whole"),
    "a rotten OTA": (
        rotten(FULL),
        f"{FULL}: zip payload.bin: found crc [0-9a-f]{{8}}; expected [0-9a-f]{{8}}: its bytes",
    ),
    "a rotten image": (rotten(FACTORY), f"{FACTORY}: zip .*image-panther.*: found crc"),
    # metadata
    "another device's": (
        meta("pre-device=panther", "pre-device=panthar"),
        "metadata pre-device: found panthar; expected panther",
    ),
    "another build": (
        meta("post-build-incremental=2", "post-build-incremental=3"),
        "metadata post-build-incremental: found 36",
    ),
    "not A/B": (meta("ota-type=AB", "ota-type=BA"), "metadata ota-type: found BA; expected AB"),
    "no timestamp": (
        meta("post-timestamp=1", "post-timestamp=x"),
        "metadata post-timestamp: found x785977859; expected Unix",
    ),
    "no patch level": (
        meta("level=2026-08-05", "level=2026-18-05"),
        f"metadata {PATCH}: found 2026-18-05; expected a date",
    ),
    "of test keys": (
        meta("user/release-keys", "user/testing-keys"),
        "metadata post-build: found user/testing-keys; expected user/r",
        TWIN,
    ),
    "another's fingerprint": (
        meta("google/panther/panther", "google/panther/panthar"),
        "metadata post-build: found device panthar",
        TWIN,
    ),
    "no fingerprint": (
        meta("post-build=google/", "post-build=google:"),
        "metadata post-build: found google:.*; expected a fingerprint",
        TWIN,
    ),
    "an incremental's": (
        meta("post-sdk-level=36", "pre-build=aaaa36\n"),
        "metadata pre-build: found aaaa36; expected none: it",
    ),
    "a downgrade": (meta("post-sdk-level=36", "ota-downgrade=yes"), "metadata ota-downgrade: found yes; expected none"),
    "a key twice": (meta("post-sdk-level=36", "ota-type=ABABABAB"), "metadata: found ota-type twice"),
    "no key": (
        meta("post-sdk-level=36", "post-sdk-level 36"),
        "metadata: found 'post-sdk-level 36'; expected a line KEY=VALUE",
    ),
    "another base": (
        meta("pre-build-incremental=2", "pre-build-incremental=3", INCREMENTAL),
        "metadata pre-build-incremental: found 36",
    ),
    "no payload": (other_name(PAYLOAD), f"{FULL}: payload.bin: found none; expected the payload", LISTED, LISTED),
    "no properties": (other_name(PROPERTIES), "payload_properties.txt: found none; expected FILE_HASH", LISTED, LISTED),
    "no metadata": (
        other_name(METADATA),
        "metadata: found no META-INF/com/android/metadata",
    ),
    # property files
    "a list that is not there": (
        meta("ota-property-files=", "oto-property-files="),
        "metadata ota-property-files: found none",
    ),
    "a part elsewhere": (
        meta("care_map.pb:", "care_mop.pb:"),
        "metadata ota-property-files: found care_mop.pb; expected a member",
    ),
    "a part at another place": (
        meta("payload_properties.txt:3", "payload_properties.txt:4"),
        "found payload_properties.txt at 4.* with 1.. bytes; expected 3.* and 1",
    ),
    "a part left out": (
        meta("payload_metadata.bin:", "payload_metodata.bin:"),
        "found no payload_metadata.bin; expected it in the list",
        "found payload_metodata.bin; expected a member",
    ),
    "a list of words": (
        meta("payload_metadata.bin:", "payload_metadata.bin;"),
        "expected NAME:OFFSET:SIZE",
        "found no payload_metadata.bin",
    ),
    # payload
    "another version": (flipped, f"{FULL}: payload.bin: found version 3; expected version 2"),
    "no magic": (spoil(FULL, PAYLOAD, "CrAU", "CrAX"), "payload.bin: found 'CrAX'; expected CrAU at its begin"),
    "no hash": (
        spoil(FULL, PROPERTIES, "FILE_HASH", "FILE_HAZH"),
        "payload_properties.txt FILE_HASH: found none; expected .*=",
    ),
    "no size": (
        spoil(FULL, PROPERTIES, "FILE_SIZE=3", "FILE_SIZE=4"),
        "payload_properties.txt FILE_SIZE: found 40000; expected 30000",
    ),
    "no metadata hash": (
        spoil(FULL, PROPERTIES, "METADATA_HASH", "METADATA_HAZH"),
        "payload_properties.txt METADATA_HASH: found n",
    ),
    "no metadata size": (
        spoil(FULL, PROPERTIES, "METADATA_SIZE=2", "METADATA_SIZE=1"),
        "METADATA_SIZE: found 10024; expected 20024",
    ),
    # signature and certificates
    "no signature": (unsigned, f"{FULL}: signature: found none; expected a package signed as a whole"),
    "signed for another": (of_another, f"{FULL}: signature: found the certificate of another key"),
    "signed by another": (by_another_key, f"{FULL}: signature: found one that is not of these bytes"),
    "no certificate": (no_certificate, r"panther\.x509\.pem: certificate: found no such file.*put the public one"),
    "a bad certificate": (bad_certificate, r"panther\.x509\.pem: certificate: found no X.509 certificate in PEM"),
    # together
    "a base that no phone has": (
        renamed("260620311"),
        f"name: found base 260620311; expected what panther-oldstable or phones' channels say: {OLD.number}",
    ),
    "a base that is later": (
        base(NEW.timestamp + 1),
        f"post-timestamp: found {NEW.timestamp}; expected later than {NEW.timestamp + 1} of its base",
        "oldstable: TIMESTAMP: found",
    ),
    "another fingerprint of the base": (
        other_base,
        f"{INCREMENTAL}: metadata pre-build: .*, the post-build of ota/panther/16/panther-ota_update-{OLD.number}",
    ),
    "no full OTA": (
        no_full,
        "found no full OTA of 260720420",
        f"{LINE}: channel: found no {FULL}; expected the package it promises",
    ),
    "a build as new as another": (
        base(NEW.timestamp),
        "expected another than build 260620310 has",
        "post-timestamp: found 1785977859; expected later than 1785977859 of its base",
        "oldstable: TIMESTAMP: found",
    ),
    "less patched": (patched_less, f"{FULL}: metadata {PATCH}: found 2026-08-05; expected 2026-09-05 or later"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_by_name(one: Release, name: str) -> None:
    """Nothing else is: a change that has two ends is told at both."""
    work, *expected = DAMAGE[name]
    work(one)
    verdict = one.check()
    assert not verdict.publishable
    found = said(verdict)
    assert len(found) == len(expected), found
    assert all(any(re.search(form, line) for line in found) for form in expected), found

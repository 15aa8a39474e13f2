"""What a package says of itself, and its payload's header, are read strictly and within bounds."""

import struct

import pytest

from roles.release.tools import payload
from roles.release.tools.ota_metadata import PAYLOAD, PROPERTIES, Metadata, lines, property_files
from roles.release.tools.problems import Damaged
from roles.release.tools.zips import DEFLATED, STORED, Directory, Member

KEYS = ("ota-property-files", "ota-streaming-property-files")
PARTS = (PAYLOAD, PROPERTIES, "META-INF/com/android/metadata")


def said(listed: str, method: int = STORED, payload_metadata: int | None = 10) -> list[str]:
    """What is wrong with the same list under both keys: members lie at 100, 200 and 300, and have 50 bytes."""
    members = tuple(Member(name, method, 0, 0, 50, 50, 0, 100 * at) for at, name in enumerate(PARTS, 1))
    told = Metadata(dict.fromkeys(KEYS, listed))
    return [str(one) for one in property_files(told, Directory(members, 0, 0, b""), payload_metadata)]


GOOD = "payload_metadata.bin:100:10,payload.bin:100:50,payload_properties.txt:200:50,metadata:300:50"


def test_a_true_list_is_padded_by_spaces() -> None:
    assert said(GOOD + "    ") == []


def test_the_first_part_of_a_payload_that_is_none_is_not_judged() -> None:
    assert said(GOOD.replace("100:10,", "100:11,"), payload_metadata=None) == []


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        pytest.param(
            GOOD.replace("100:10,", "100:11,"),
            "payload_metadata.bin at 100 with 11 bytes; expected 100 and 10",
            id="first",
        ),
        pytest.param(
            GOOD.replace("200:50", "201:50"),
            "payload_properties.txt at 201 with 50 bytes; expected 200 and",
            id="offset",
        ),
        pytest.param(GOOD.replace("300:50", "300:49"), "metadata at 300 with 49 bytes; expected 300 and 50", id="size"),
        pytest.param(GOOD + ",metadata:300:50", "metadata twice; expected each part once", id="twice"),
        pytest.param(GOOD + ",other:1:1", "other; expected a member of the package", id="no member"),
        pytest.param(GOOD + ",other:1", "'other:1'; expected NAME:OFFSET:SIZE", id="no size"),
        pytest.param(GOOD + ",other:-1:1", "'other:-1:1'; expected NAME:OFFSET:SIZE", id="a negative one"),
        pytest.param(GOOD + f",other:{'9' * 40}:1", "expected NAME:OFFSET:SIZE", id="a huge one"),
        pytest.param(GOOD.replace(",metadata:300:50", ""), "no metadata; expected it in the list", id="left out"),
    ],
)
def test_a_list_that_streaming_clients_would_go_wrong_by_is_refused(listed: str, expected: str) -> None:
    found = said(listed)
    assert [expected in one for one in found] == [True, True], found


def test_parts_are_stored() -> None:
    assert sum("which is packed; expected a stored member" in one for one in said(GOOD, DEFLATED)) == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"a=1\na=2\n", "found a twice", id="twice"),
        pytest.param(b"a\n", "found 'a'; expected a line KEY=VALUE", id="no value"),
        pytest.param(b"=1\n", "expected a line KEY=VALUE", id="no key"),
        pytest.param(b"a=\0\n", r"found 'a=.*x00'", id="NUL"),
        pytest.param(b"a=1\r\n", "expected a line KEY=VALUE", id="CRLF"),
        pytest.param(b"\xff=1", "found bytes that are no text", id="no text"),
        pytest.param(b"".join(b"%d=1\n" % number for number in range(101)), "found more than 100 keys", id="many"),
    ],
)
def test_metadata_that_clients_could_read_in_two_ways_is_refused(text: bytes, expected: str) -> None:
    with pytest.raises(Damaged, match=expected):
        lines(text, "metadata")


def test_the_last_line_may_lack_its_end() -> None:
    assert lines(b"a=1=2\nb=", "metadata") == {"a": "1=2", "b": ""}


def head(magic: bytes = b"CrAU", version: int = 2, manifest: int = 100, signature: int = 10) -> bytes:
    return struct.pack(">4sQQL", magic, version, manifest, signature)


def test_a_header_tells_what_clients_read_first() -> None:
    found = payload.header(head() + b"more", 200)
    assert (found.metadata, found.signature, found.total) == (124, 10, 134)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(head()[:-1], "found 23 bytes; expected a header of 24", id="cut"),
        pytest.param(head(magic=b"PK\3\4"), "expected CrAU at its begin", id="magic"),
        pytest.param(head(version=1), "found version 1; expected version 2", id="version"),
        pytest.param(head(manifest=0), "found a manifest of 0 bytes", id="no manifest"),
        pytest.param(head(manifest=1 << 63), "expected both there, not huge", id="a huge manifest"),
        pytest.param(head(signature=0), "signed with 0; expected both", id="no signature"),
        pytest.param(head(signature=1 << 31), "expected both there, not huge", id="a huge signature"),
        pytest.param(head(manifest=167), "found 200 bytes; expected at least 201, as its header says", id="too large"),
    ],
)
def test_a_header_that_phones_refuse_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(Damaged, match=expected):
        payload.header(data, 200)

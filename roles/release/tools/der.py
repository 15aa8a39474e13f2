"""DER, as much of it as a signature needs: definite lengths, tags of one byte. Raises Damaged on anything else."""

from dataclasses import dataclass

from roles.release.tools.problems import Damaged

OCTETS, OID, SEQUENCE, SET = 0x04, 0x06, 0x30, 0x31
CHILDREN = 64


@dataclass(frozen=True)
class Value:
    """One value. whole: with its tag and length."""

    tag: int
    content: bytes
    whole: bytes

    def is_(self, tag: int, what: str) -> "Value":
        """Itself, if it has the tag."""
        if self.tag != tag:
            raise Damaged("signature", f"tag {self.tag:#04x} for {what}", f"{tag:#04x}")
        return self

    def parts(self, what: str, tag: int = SEQUENCE) -> list["Value"]:
        """What it is made of."""
        self.is_(tag, what)
        found: list[Value] = []
        rest = self.content
        while rest:
            if len(found) == CHILDREN:
                raise Damaged("signature", f"more than {CHILDREN} parts in {what}", "fewer")
            one = value(rest)
            found.append(one)
            rest = rest[len(one.whole) :]
        return found


def value(data: bytes) -> Value:
    """The one at the begin."""
    if len(data) < 2 or data[0] & 0x1F == 0x1F:
        raise Damaged("signature", "a value that is cut, or a long tag", "DER")
    length, at = data[1], 2
    if length & 0x80:
        digits = length & 0x7F
        length, at = int.from_bytes(data[2 : 2 + digits], "big"), 2 + digits
        if not 1 <= digits <= 4 or length < 0x80 or length.bit_length() <= 8 * (digits - 1):
            raise Damaged("signature", "a length that is not DER's", "the shortest definite form")
    if at + length > len(data):
        raise Damaged(
            "signature", f"a value of {length:,} bytes where {max(0, len(data) - at):,} are left", "all of it"
        )
    return Value(data[0], data[at : at + length], data[: at + length])


def only(data: bytes, what: str) -> Value:
    """The one that these bytes are."""
    one = value(data)
    if len(one.whole) != len(data):
        raise Damaged("signature", f"{len(data) - len(one.whole):,} bytes after {what}", "none")
    return one

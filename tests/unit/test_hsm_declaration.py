"""hsm.toml: what is refused, by which field, before any device is asked."""

from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from inventories.errors import InputError
from roles.signing.tools import places
from roles.signing.tools.state import loading
from tests.hsm_site import DECLARATION

GOOD = DECLARATION.format(primary="http://127.0.0.1:12345", backup="http://127.0.0.1:12346")


def write(folder: Path, text: str) -> Path:
    path = folder / "hsm.toml"
    path.write_text(text)
    return path


def test_the_readmes_example_is_right(tmp_path: Path) -> None:
    readme = (REPOSITORY / "roles/signing/README.md").read_text()
    _, _, rest = readme.partition("## hsm.toml\n")
    example = "\n".join(line[4:] for line in rest.split("\n## ")[0].splitlines() if line.startswith("    "))
    declared = loading.load(write(tmp_path, example))
    assert declared.keys()["bluejay-releasekey"].id == 0x0101


def test_what_custody_reads_is_what_is_declared(tmp_path: Path) -> None:
    declared = loading.load(write(tmp_path, GOOD))
    assert declared.custody == places.read(tmp_path / "hsm.toml")
    assert [place.serial for place in declared.custody.devices] == [999000001, 999000002]
    assert (declared.custody.reader, declared.custody.reader_id) == ("audit", 2)


def test_the_primary_is_the_first_however_devices_are_named(tmp_path: Path) -> None:
    custody = places.read(write(tmp_path, GOOD))
    assert [place.name for place in custody.chosen(["backup", "primary"])] == ["primary", "backup"]
    assert [place.name for place in custody.chosen(["backup"])] == ["backup"]
    assert custody.chosen([]) == custody.devices
    with pytest.raises(InputError, match=r"devices.spare: no such device\n  there are: primary, backup"):
        custody.chosen(["spare"])


WRONG = {
    "not TOML": ("expires_days = 90", "expires_days = "),
    "no such key": ("expires_days = 90", "expire_days = 90"),
    "devices.backup.serial: 999000001 is that of primary too": ("serial = 999000002", "serial = 999000001"),
    "devices.primary.serial: must be a number": ("serial = 999000001", 'serial = "0999"'),
    "devices.primary.connector: must be a connector's address": ('"http://127.0.0.1:12345"', '"127.0.0.1:12345"'),
    "log.key: auditor: no such authentication key": ('key = "audit"', 'key = "auditor"'),
    "lacks get-log-entries": ('capabilities = ["get-log-entries"]', 'capabilities = ["get-option"]'),
    "audit.exceptions.get-log-entries: must stay off": ("{ echo =", '{ get-log-entries = "on", echo ='),
    "'sing-ecdsa' is no capability": (
        'domains = [3, 4]\ncapabilities = ["sign',
        'domains = [3, 4]\ncapabilities = ["sing',
    ),
    "authentication_keys.signing.domains.1: Input should be less than or equal to 16": ("[3, 4]", "[3, 17]"),
    "authentication_keys.signing.id: 0x0002 is that of audit too": ("id = 0x0001", "id = 0x0002"),
    "keys.platform.id: Input should be less than or equal to 65534": ("id = 0x0102", "id = 0xffff"),
    "keys.platform.id: 0x0101 is that of releasekey too": ("id = 0x0102", "id = 0x0101"),
    "classes.exportable.algorithm: 'ecp257' is no algorithm": ('"ecp256"', '"ecp257"'),
    "classes.exportable.wrap_key: other: no such wrap key": ('wrap_key = "main"', 'wrap_key = "other"'),
    "lacks exportable-under-wrap": (
        'capabilities = ["sign-ecdsa", "exportable-under-wrap"]\nwrap',
        'capabilities = ["sign-ecdsa"]\nwrap',
    ),
    "the wrap key main does not delegate it": (
        'delegated = ["sign-ecdsa", "exportable-under-wrap"]',
        'delegated = ["sign-ecdsa"]',
    ),
    "keys.platform.class: plain: no such class": ('id = 0x0102\nclass = "exportable"', 'id = 0x0102\nclass = "plain"'),
    "audit.force: Input should be 'off', 'on' or 'fixed'": ('force = "on"', 'force = "yes"'),
}


KEYS = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
]
WRONG_SHARES = {
    "holders.alice: must be an SSH public key that age takes": (2, ["ecdsa-sha2-nistp256 AAAA", KEYS[1]]),
    "holders.alice: a security key's key signs, and decrypts nothing": (
        2,
        ["sk-ssh-ed25519@openssh.com AAAA", KEYS[1]],
    ),
    "holders.alice: is no whole SSH public key": (2, [KEYS[0][:-9], KEYS[1]]),
    "holders.bob: ssh-ed25519 .* is that of alice too": (2, [KEYS[0], f"{KEYS[0]} bob@laptop"]),
    "threshold: 3 of 2 holders can never come together": (3, KEYS),
    "threshold: Input should be greater than or equal to 2": (1, KEYS),
    "holders: Dictionary should have at least 2 items": (2, KEYS[:1]),
}


def with_shares(threshold: int, keys: list[str]) -> str:
    holders = "\n".join(f'{name} = "{key}"' for name, key in zip(("alice", "bob"), keys, strict=False))
    table = f"[wrap_keys.main.shares]\nthreshold = {threshold}\n[wrap_keys.main.shares.holders]\n{holders}\n"
    return GOOD.replace("[classes.exportable]", f"{table}[classes.exportable]")


@pytest.mark.parametrize("told", WRONG_SHARES)
def test_shares_that_nobody_could_use_are_refused(tmp_path: Path, told: str) -> None:
    with pytest.raises(InputError, match=rf"hsm\.toml: wrap_keys\.main\.shares\.{told}"):
        loading.load(write(tmp_path, with_shares(*WRONG_SHARES[told])))


def test_holders_keys_are_without_their_comments(tmp_path: Path) -> None:
    shares = (
        loading.load(write(tmp_path, with_shares(2, [f"{KEYS[0]} alice@laptop", KEYS[1]])))
        .file.wrap_keys["main"]
        .shares
    )
    assert shares
    assert list(shares.holders.values()) == KEYS


@pytest.mark.parametrize("told", WRONG)
def test_is_refused(tmp_path: Path, told: str) -> None:
    old, new = WRONG[told]
    assert old in GOOD
    with pytest.raises(InputError) as refused:
        loading.load(write(tmp_path, GOOD.replace(old, new, 1)))
    assert told in str(refused.value)
    assert str(tmp_path / "hsm.toml") in str(refused.value)


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ("serial = 999000001", "devices.primary.serial: must be a number"),
        ('key = "audit"', "log.key: must be a text"),
        ("id = 0x0002", "authentication_keys.audit.id: must be a number"),
    ],
)
def test_custody_refuses_what_it_needs_and_is_not_there(tmp_path: Path, old: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        places.read(write(tmp_path, GOOD.replace(old, "", 1)))

"""The simulated YubiHSM 2 with Yubico's own tools of Debian 13; another implementation verifies what they sign."""

import re
import struct
from collections.abc import Iterator
from itertools import pairwise

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from yubihsm.core import LogEntry, YubiHsm
from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, OBJECT
from yubihsm.objects import AsymmetricKey, Opaque

from lab.hsm import service
from lab.hsm.log import SLOTS
from tests.hsm import DEFAULT_KEY, DEFAULT_PASSWORD, free_port
from tests.hsm_tools import Tools

pytestmark = pytest.mark.lab
MESSAGE = b"what is to be signed\n"
KEY, WRAP_KEY = 0x0201, 0x0030
SIGNS = "sign-pkcs,sign-pss,sign-ecdsa,sign-eddsa,exportable-under-wrap"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
ALGORITHMS = (
    *("rsa2048", pytest.param("rsa3072", marks=pytest.mark.full), "rsa4096"),
    *("ecp256", "ecp384", "ecp521", "eck256", pytest.param("ecbp384", marks=pytest.mark.full), "ed25519"),
)
CURVES = {
    "ecp256": ec.SECP256R1(),
    "ecp384": ec.SECP384R1(),
    "ecp521": ec.SECP521R1(),
    "eck256": ec.SECP256K1(),
    "ecbp384": ec.BrainpoolP384R1(),
}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Of a device and its backup."""
    folders = [tmp_path_factory.mktemp("hsm") / name for name in ("primary", "backup")]
    try:
        yield [service.start(folder, free_port()) for folder in folders]
    finally:
        for folder in folders:
            service.stop(folder)


@pytest.fixture
def devices(urls: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Tools]:
    """As they leave the factory, each with tools."""
    for url in urls:
        YubiHsm.connect(url).create_session_derived(DEFAULT_KEY, DEFAULT_PASSWORD).reset_device()
    return [Tools(tmp_path_factory.mktemp("tools"), url) for url in urls]


@pytest.fixture
def device(devices: list[Tools]) -> Tools:
    return devices[0]


def new_key(algorithm: str) -> PrivateKey:
    if algorithm.startswith("rsa"):
        return rsa.generate_private_key(65537, int(algorithm.removeprefix("rsa")))
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(CURVES[algorithm])


def put_wrap_key(device: Tools, secret: bytes) -> None:
    (device.folder / "wrap.key").write_bytes(secret)
    what = ("-i", str(WRAP_KEY), "-l", "wrap", "-d", "3", "-c", "export-wrapped,import-wrapped", "--delegated", SIGNS)
    device.shell("put-wrap-key", *what, "--in", "wrap.key", "--informat", "binary")


def public_key(device: Tools) -> PublicKey:
    device.shell("get-public-key", "-i", str(KEY), "--outformat", "PEM", "--out", "public.pem")
    found = serialization.load_pem_public_key((device.folder / "public.pem").read_bytes())
    assert isinstance(found, PublicKey)
    return found


def signs(device: Tools, public: PublicKey) -> None:
    """Whether yubihsm-shell signs by the key what this public key verifies, by all that such a key can."""
    sha256 = hashes.SHA256()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(
            device.signed("sign-pkcs1v15", KEY, "rsa-pkcs1-sha256", MESSAGE), MESSAGE, padding.PKCS1v15(), sha256
        )
        signature = device.signed("sign-pss", KEY, "rsa-pss-sha512", MESSAGE)
        sha512 = hashes.SHA512()
        public.verify(signature, MESSAGE, padding.PSS(padding.MGF1(sha512), padding.PSS.AUTO), sha512)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        for name, one in (("ecdsa-sha256", sha256), ("ecdsa-sha384", hashes.SHA384())):
            public.verify(device.signed("sign-ecdsa", KEY, name, MESSAGE), MESSAGE, ec.ECDSA(one))
    else:
        public.verify(device.signed("sign-eddsa", KEY, "ed25519", MESSAGE), MESSAGE)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_kind_of_key_is_made_signs_and_moves_to_the_backup(devices: list[Tools], algorithm: str) -> None:
    first, second = devices
    first.shell("generate-asymmetric-key", "-i", str(KEY), "-l", "made", "-d", "3", "-c", SIGNS, "-A", algorithm)
    public = public_key(first)
    signs(first, public)
    for one in devices:
        put_wrap_key(one, bytes(range(32)))
    moved = ("--wrap-id", str(WRAP_KEY))
    out = ("-i", str(KEY), "-t", "asymmetric-key", "--out", str(second.folder / "key.yhw"))
    first.shell("get-wrapped", *moved, *out)
    second.shell("put-wrapped", *moved, "--in", "key.yhw")
    assert public_key(second) == public
    signs(second, public)
    info = second.shell("get-object-info", "-i", str(KEY), "-t", "asymmetric-key")
    assert "origin: generated:imported_wrapped" in info
    assert f"algorithm: {algorithm}" in info


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_yubihsm_wrap_wraps_comes_in(device: Tools, algorithm: str) -> None:
    key = new_key(algorithm)
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (device.folder / "key.pem").write_bytes(key.private_bytes(*forms))
    put_wrap_key(device, bytes(range(24)))
    what = ("-a", algorithm, "-i", str(KEY), "-l", "old", "-d", "3", "-c", SIGNS)
    device.run("yubihsm-wrap", *what, "-k", "wrap.key", "--in", "key.pem", "--out", "key.yhw")
    device.shell("put-wrapped", "--wrap-id", str(WRAP_KEY), "--in", "key.yhw")
    assert public_key(device) == key.public_key()
    signs(device, key.public_key())


def test_other_objects_that_yubihsm_wrap_wraps_come_in(device: Tools) -> None:
    put_wrap_key(device, bytes(range(32)))
    (device.folder / "new-password").write_text("secret")
    (device.folder / "mac.key").write_bytes(b"key of a mac")
    common = ("-i", str(KEY), "-l", "old", "-d", "3", "-c", "exportable-under-wrap", "-e", "sign-pss")
    for algorithm, source in (("aes128-yubico-authentication", "new-password"), ("hmac-sha256", "mac.key")):
        device.run("yubihsm-wrap", "-a", algorithm, *common, "-k", "wrap.key", "--in", source, "--out", "wrapped")
        device.shell("put-wrapped", "--wrap-id", str(WRAP_KEY), "--in", "wrapped")
    assert "Found 1 object" in device.shell("list-objects", "-t", "hmac-key")
    device.shell("get-pseudo-random", "--authkey", str(KEY), password="new-password", ok=False)
    told = device.shell("get-storage-info", "--authkey", str(KEY), password="new-password")
    assert "free records: 252/256" in told


def test_certificates_are_kept_and_the_device_vouches_for_a_key(device: Tools) -> None:
    device.shell("generate-asymmetric-key", "-i", str(KEY), "-l", "made", "-d", "3", "-c", SIGNS, "-A", "ecp256")
    for number, name in (("0", "device.pem"), (str(KEY), "key.pem")):
        if number != "0":
            attested = ("-i", number, "--attestation-id", "0", "--outformat", "PEM", "--out", name)
            device.shell("sign-attestation-certificate", *attested)
            where = ("-i", number, "-l", "certificate", "-d", "3", "-A", "opaque-x509-certificate")
            device.shell("put-opaque", *where, "--in", name, "--informat", "PEM")
        device.shell("get-opaque", "-i", number, "--outformat", "PEM", "--out", f"stored-{name}")
    stored = [
        x509.load_pem_x509_certificate((device.folder / f"stored-{name}").read_bytes())
        for name in ("device.pem", "key.pem")
    ]
    stored[1].verify_directly_issued_by(stored[0])
    assert stored[1].public_key() == public_key(device)


def test_a_wrong_password_and_a_missing_key_are_failures(device: Tools) -> None:
    (device.folder / "wrong").write_text("guessed")
    assert "Failed to create session" in device.shell("list-objects", password="wrong", ok=False)
    device.shell("get-public-key", "-i", "0x0999", ok=False)


def drained(device: Tools) -> list[LogEntry]:
    """As yubihsm-shell tells them."""
    told = device.shell("get-logs")
    form = re.compile(
        r"item: +(\d+) -- cmd: 0x(\w+) -- length: +(\d+) -- session key: 0x(\w+) -- target key: 0x(\w+) -- "
        r"second key: 0x(\w+) -- result: 0x(\w+) -- tick: (\d+) -- hash: (\w+)"
    )
    entries = []
    for number, command, length, session, target, second, result, tick, digest in form.findall(told):
        objects = (int(one, 16) for one in (session, target, second))
        numbers = (int(number), int(command, 16), int(length), *objects, int(result, 16), int(tick))
        entries.append(LogEntry.parse(struct.pack(LogEntry.FORMAT, *numbers, bytes.fromhex(digest))))
    return entries


def test_under_forced_audit_the_log_fills_and_is_drained(device: Tools) -> None:
    audited = (COMMAND.CREATE_SESSION, COMMAND.AUTHENTICATE_SESSION, COMMAND.GET_PSEUDO_RANDOM, COMMAND.CLOSE_SESSION)
    device.shell("put-option", "--opt-name", "command-audit", "--opt-value", "".join(f"{one:02x}01" for one in audited))
    device.shell("put-option", "--opt-name", "force-audit", "--opt-value", "01")
    assert "Option value is: 01" in device.shell("get-option", "--opt-name", "force-audit")
    for _ in range(SLOTS):
        device.shell("get-pseudo-random", "--count", "8", ok=None)
        if f"{SLOTS}/{SLOTS}" in device.shell("get-device-info"):
            break
    assert "Log buffer is full" in device.shell("get-pseudo-random", "--count", "8", ok=False)
    entries = drained(device)
    assert len(entries) == SLOTS
    assert entries[0].data == b"\0\1" + b"\xff" * 14
    assert all(after.validate(before) for before, after in pairwise(entries))
    assert [one.command for one in entries].count(COMMAND.GET_PSEUDO_RANDOM) >= 12
    device.shell("set-log-index", "--log-index", str(entries[-1].number))
    device.shell("get-pseudo-random", "--count", "8")
    assert drained(device)[0].number == entries[-1].number + 1


def test_a_factory_reset_leaves_nothing_but_the_default_key(device: Tools) -> None:
    device.shell("generate-asymmetric-key", "-i", str(KEY), "-l", "made", "-d", "3", "-c", SIGNS, "-A", "ecp256")
    device.shell("put-option", "--opt-name", "force-audit", "--opt-value", "02")
    device.shell("reset")
    listed = device.shell("list-objects")
    assert "Found 1 object" in listed
    assert "DEFAULT AUTHKEY CHANGE THIS ASAP" in listed
    assert "Option value is: 00" in device.shell("get-option", "--opt-name", "force-audit")
    assert [one.number for one in drained(device)] == [1, 2]


def test_a_device_pulled_out_while_it_makes_a_key_has_it_when_it_is_back(device: Tools) -> None:
    service.fault(device.url, "unplug", command="GENERATE_ASYMMETRIC_KEY")
    made = ("-i", str(KEY), "-l", "made", "-d", "3", "-c", SIGNS, "-A", "ecp256")
    device.shell("generate-asymmetric-key", *made, ok=False)
    device.shell("list-objects", ok=False)
    service.undo_faults(device.url)
    signs(device, public_key(device))


@pytest.mark.parametrize(
    ("kind", "mechanism"),
    [("rsa:2048", "SHA256-RSA-PKCS"), ("rsa:2048", "SHA256-RSA-PKCS-PSS"), ("EC:secp384r1", "ECDSA-SHA256")],
)
def test_a_key_made_over_pkcs11_signs(device: Tools, kind: str, mechanism: str) -> None:
    device.pkcs11("--keypairgen", "--key-type", kind, "--label", "made", "--id", f"{KEY:04x}", "--usage-sign")
    (device.folder / "message").write_bytes(MESSAGE)
    files = ("-i", "message", "-o", "signature", "--signature-format", "openssl")
    device.pkcs11("--sign", "-m", mechanism, "--id", f"{KEY:04x}", *files)
    signature, public, sha256 = (device.folder / "signature").read_bytes(), public_key(device), hashes.SHA256()
    if isinstance(public, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(sha256), padding.PSS.AUTO)
        public.verify(signature, MESSAGE, pss if mechanism.endswith("PSS") else padding.PKCS1v15(), sha256)
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature, MESSAGE, ec.ECDSA(sha256))


def test_openssl_signs_by_a_key_in_the_device(device: Tools) -> None:
    with YubiHsm.connect(device.url) as host, host.create_session_derived(DEFAULT_KEY, DEFAULT_PASSWORD) as session:
        for number, algorithm in ((KEY, ALGORITHM.RSA_4096), (KEY + 1, ALGORITHM.EC_P256)):
            may = CAPABILITY.SIGN_PKCS | CAPABILITY.SIGN_PSS | CAPABILITY.SIGN_ECDSA
            AsymmetricKey.generate(session, number, f"key {number}", 1, may, algorithm)
    (device.folder / "message").write_bytes(MESSAGE)
    key = f"pkcs11:id=%{KEY >> 8:02x}%{KEY & 0xFF:02x};type=private"
    device.run("openssl", "dgst", "-sha256", "-sign", key, "-out", "signature", "message")
    public = public_key(device)
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify((device.folder / "signature").read_bytes(), MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    for number in (KEY, KEY + 1):
        key = f"pkcs11:id=%{number >> 8:02x}%{number & 0xFF:02x};type=private"
        device.run("openssl", "req", "-new", "-x509", "-subj", "/CN=made", "-key", key, "-out", "made.pem")
        made = x509.load_pem_x509_certificate((device.folder / "made.pem").read_bytes())
        made.verify_directly_issued_by(made)


def test_yubico_s_library_over_http(device: Tools) -> None:
    with YubiHsm.connect(device.url) as host, host.create_session_derived(DEFAULT_KEY, DEFAULT_PASSWORD) as session:
        key = AsymmetricKey.generate(session, KEY, "made", 1, CAPABILITY.SIGN_ECDSA, ALGORITHM.EC_P256)
        key.get_public_key().verify(key.sign_ecdsa(MESSAGE), MESSAGE, ec.ECDSA(hashes.SHA256()))
        key.attest().verify_directly_issued_by(Opaque(session, 0).get_certificate())
        assert session.get_force_audit() == AUDIT.OFF
        assert {one.object_type for one in session.list_objects()} == {OBJECT.AUTHENTICATION_KEY, OBJECT.ASYMMETRIC_KEY}

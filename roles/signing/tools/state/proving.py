"""`prove`: each key on a device signs, and what verifies it is its certificate in the folder."""

import hashlib
import secrets
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from yubihsm.core import AuthSession
from yubihsm.defs import OBJECT
from yubihsm.objects import AsymmetricKey

from roles.signing.tools.errors import HsmError
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.state import folder as files
from roles.signing.tools.state import reading, way, words
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.objects import Described
from roles.signing.tools.state.opened import Opened
from roles.signing.tools.wire import Place

WRONG = 51
"""Exit code."""
ABOUT = b"mainstay hsm prove: this says nothing but that the key works. "
BY = {"rsa": ("sign-pkcs", "sign-pss"), "ec": ("sign-ecdsa",), "ed25519": ("sign-eddsa",)}
"""Capabilities by which a key may sign, by how the name of its algorithm begins."""
PSS = padding.PSS(padding.MGF1(SHA256()), SHA256().digest_size)


class Proof(NamedTuple):
    """Of one key. sha256: of its public key (SubjectPublicKeyInfo, DER), empty where there is none.

    check: what went wrong, `presence`, `certificate` or `signature`; empty where nothing did. told: more of it.
    """

    name: str
    id: int
    sha256: str
    check: str = ""
    told: str = ""

    def as_json(self) -> dict[str, object]:
        return self._asdict() | {"id": f"{self.id:#06x}"}


def prove(declared: Declared, place: Place, passwords: Passwords) -> list[Proof]:
    """Of all declared keys that are to be on that device, and others that are. Raises HsmError."""
    found: dict[str, Proof] = {}
    folder, signers = Folder(declared.folder), declared.authentication_keys()
    for who, keys in _signers(declared).items():
        if not who:
            told = "no authentication key may sign by it"
            found |= {name: Proof(name, one.id, "", "signature", told) for name, one in keys.items()}
            continue
        with way.connect(declared, (place,), passwords, who) as opened:
            device = opened.devices[place.name]
            for name, one in keys.items():
                how = _how(one, signers[who])
                if proof := _proof(device, name, one, how, folder, declared.resident(name)):
                    found[name] = proof
    return [found[name] for name in declared.file.keys if name in found]


def _signers(declared: Declared) -> dict[str, dict[str, Described]]:
    """Keys by the first authentication key that may sign by them; by "" where none may."""
    found: dict[str, dict[str, Described]] = {}
    for name, one in declared.keys().items():
        may = (who for who, each in declared.authentication_keys().items() if _how(one, each))
        found.setdefault(next(may, ""), {})[name] = one
    return found


def _how(one: Described, signer: Described) -> str:
    """The capability by which a session signs with a key; empty where it may not, or does not see the key."""
    algorithm = words.of(words.ALGORITHMS, one.algorithm)
    known = next(names for begin, names in BY.items() if algorithm.startswith(begin))
    both = one.capabilities & signer.capabilities if one.domains & signer.domains else 0
    return next((name for name in known if both & words.CAPABILITIES[name]), "")


def _proof(opened: Opened, name: str, one: Described, how: str, folder: Folder, needed: bool) -> Proof | None:
    """None of one that is not there, and need not be."""
    there = opened.ask(
        "its objects were not listed", lambda session: session.list_objects(one.id, OBJECT.ASYMMETRIC_KEY)
    )
    if not there:
        return Proof(name, one.id, "", "presence", "is not on the device") if needed else None
    public = reading.public(opened, one.id)
    digest = hashlib.sha256(public).hexdigest()
    if path := folder.certificates.get(one.id):
        try:
            key = files.certificate(path).public_key()
        except (ValueError, OSError) as error:
            return Proof(name, one.id, digest, "certificate", f"{path.name}: is no certificate: {error}")
        if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
            return Proof(name, one.id, digest, "certificate", f"{path.name} is of another key")
    message = ABOUT + secrets.token_bytes(16)
    try:
        signature = opened.ask(f"{one} did not sign", lambda session: _sign(session, one.id, how, message))
        _verify(load_der_public_key(public), how, signature, message)
    except HsmError as error:
        return Proof(name, one.id, digest, "signature", str(error))
    except InvalidSignature:
        return Proof(name, one.id, digest, "signature", "what it signed does not verify")
    return Proof(name, one.id, digest)


def _sign(session: AuthSession, number: int, how: str, message: bytes) -> bytes:
    key = AsymmetricKey(session, number)
    match how:
        case "sign-pkcs":
            return key.sign_pkcs1v1_5(message)
        case "sign-pss":
            return key.sign_pss(message, SHA256().digest_size)
        case "sign-ecdsa":
            return key.sign_ecdsa(message)
        case _:
            return key.sign_eddsa(message)


def _verify(public: Any, how: str, signature: bytes, message: bytes) -> None:
    """Raises InvalidSignature."""
    match how:
        case "sign-pkcs":
            public.verify(signature, message, padding.PKCS1v15(), SHA256())
        case "sign-pss":
            public.verify(signature, message, PSS, SHA256())
        case "sign-ecdsa":
            public.verify(signature, message, ec.ECDSA(SHA256()))
        case _:
            public.verify(signature, message)

"""What the device stores: keys and opaque data, each known by type and id."""

import struct

from pydantic import BaseModel, ConfigDict
from yubihsm.defs import ALGORITHM, CAPABILITY, OBJECT, ORIGIN

NO_ID = 0xFFFF
"""Stands for no object in the log; none can have it."""
LABEL_LENGTH = 40
RECORDS, PAGES, PAGE_BYTES = 256, 1024, 126
"""What the device has room for: each object takes a record, and as many pages as it fills."""
EVERYTHING = int(CAPABILITY.ALL)

RSA = (ALGORITHM.RSA_2048, ALGORITHM.RSA_3072, ALGORITHM.RSA_4096)
EC = (
    *(ALGORITHM.EC_P224, ALGORITHM.EC_P256, ALGORITHM.EC_P384, ALGORITHM.EC_P521, ALGORITHM.EC_K256),
    *(ALGORITHM.EC_BP256, ALGORITHM.EC_BP384, ALGORITHM.EC_BP512),
)
ALGORITHMS: dict[OBJECT, tuple[ALGORITHM, ...]] = {
    OBJECT.OPAQUE: (ALGORITHM.OPAQUE_DATA, ALGORITHM.OPAQUE_X509_CERTIFICATE),
    OBJECT.AUTHENTICATION_KEY: (
        ALGORITHM.AES128_YUBICO_AUTHENTICATION,
        ALGORITHM.EC_P256_YUBICO_AUTHENTICATION,
    ),
    OBJECT.ASYMMETRIC_KEY: (*RSA, *EC, ALGORITHM.EC_ED25519),
    OBJECT.WRAP_KEY: (ALGORITHM.AES128_CCM_WRAP, ALGORITHM.AES192_CCM_WRAP, ALGORITHM.AES256_CCM_WRAP),
    OBJECT.HMAC_KEY: (ALGORITHM.HMAC_SHA1, ALGORITHM.HMAC_SHA256, ALGORITHM.HMAC_SHA384, ALGORITHM.HMAC_SHA512),
}
"""By the types of object that there can be here."""
USES = (
    *(ALGORITHM.RSA_PKCS1_SHA1, ALGORITHM.RSA_PKCS1_SHA256, ALGORITHM.RSA_PKCS1_SHA384, ALGORITHM.RSA_PKCS1_SHA512),
    *(ALGORITHM.RSA_PSS_SHA1, ALGORITHM.RSA_PSS_SHA256, ALGORITHM.RSA_PSS_SHA384, ALGORITHM.RSA_PSS_SHA512),
    *(ALGORITHM.RSA_MGF1_SHA1, ALGORITHM.RSA_MGF1_SHA256, ALGORITHM.RSA_MGF1_SHA384, ALGORITHM.RSA_MGF1_SHA512),
    *(ALGORITHM.EC_ECDSA_SHA1, ALGORITHM.EC_ECDSA_SHA256, ALGORITHM.EC_ECDSA_SHA384, ALGORITHM.EC_ECDSA_SHA512),
)
"""Algorithms that keys are used by; yubihsm_pkcs11 offers no others to its hosts."""
DELEGATING = (OBJECT.AUTHENTICATION_KEY, OBJECT.WRAP_KEY)
"""Types that have delegated capabilities."""
DELETED_BY = {
    OBJECT.OPAQUE: CAPABILITY.DELETE_OPAQUE,
    OBJECT.AUTHENTICATION_KEY: CAPABILITY.DELETE_AUTHENTICATION_KEY,
    OBJECT.ASYMMETRIC_KEY: CAPABILITY.DELETE_ASYMMETRIC_KEY,
    OBJECT.WRAP_KEY: CAPABILITY.DELETE_WRAP_KEY,
    OBJECT.HMAC_KEY: CAPABILITY.DELETE_HMAC_KEY,
}
_INFO = struct.Struct(f"!QHHHBBBB{LABEL_LENGTH}sQ")


class StoredObject(BaseModel):
    """payload: as the device keeps it and yubihsm-wrap writes it (lab/hsm/keys.py), without delegated capabilities."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    id: int
    type: OBJECT
    algorithm: ALGORITHM
    label: bytes
    domains: int
    capabilities: int
    delegated: int = 0
    sequence: int = 0
    origin: int
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes, as the device tells them."""
        return len(self.payload) + (8 if self.type in DELEGATING else 0)

    @property
    def pages(self) -> int:
        return -(-self.size // PAGE_BYTES)

    def info(self) -> bytes:
        """As GET OBJECT INFO tells it."""
        return _INFO.pack(
            *(self.capabilities, self.id, self.size, self.domains, self.type, self.algorithm),
            *(self.sequence, self.origin, self.label, self.delegated),
        )


NOBODY = StoredObject(
    id=NO_ID,
    type=OBJECT.AUTHENTICATION_KEY,
    algorithm=ALGORITHM.AES128_YUBICO_AUTHENTICATION,
    label=b"",
    domains=0,
    capabilities=0,
    origin=ORIGIN.GENERATED,
    payload=b"",
)
"""Who gives a command outside of sessions."""

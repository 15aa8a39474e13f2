"""What is signed on the host in a rehearsal, through PKCS#11: an OTA package as AOSP's SignApk signs it, and an app."""

import json
import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from lab import release_build
from lab.release_build import FOLLOWING_BYTES, NEXT
from lab.signing import apk
from lab.signing.building import KEYS, LOG, OPENSSL, uri
from lab.signing.host import HostError, SigningHost
from roles.release.tools.check import Verdict, check

DEVICE = "panther"
OTA_KEY, APP_KEY, APP_LABEL = 0x0101, 0x0102, "platform"
"""As hsm.toml declares them."""
SIGNATURES = {OTA_KEY: 1, APP_KEY: 2}
"""An app is signed once by each scheme: v2, v3."""
SIGN_OTA = """\
cat >"$HOME/package"
with_openssl cms -sign -binary -noattr -nosmimecap -md sha256 -signer {certificate} -inkey '{key}' -outform DER \\
    -in "$HOME/package" -out "$HOME/block" >&2
cat "$HOME/block"
"""
SIGN_APP = """\
cat >"$HOME/app.apk"
printf '0001%s' "$(cat "$HOME/signing")" >"$HOME/pin"
cat >"$HOME/java.cfg" <<END
name = yubihsm
library = /usr/lib/x86_64-linux-gnu/pkcs11/yubihsm_pkcs11.so
END
export JAVA_TOOL_OPTIONS=--add-exports=jdk.crypto.cryptoki/sun.security.pkcs11=ALL-UNNAMED
hsm-run --password-file audit="$HOME/audit" -- apksigner sign --ks NONE --ks-type PKCS11 \\
    --provider-class sun.security.pkcs11.SunPKCS11 --provider-arg "$HOME/java.cfg" --ks-pass "file:$HOME/pin" \\
    --ks-key-alias {alias} --min-sdk-version 33 --v1-signing-enabled false --v4-signing-enabled false \\
    --in "$HOME/app.apk" --out "$HOME/signed.apk" >&2
apksigner verify --print-certs --min-sdk-version 33 "$HOME/signed.apk"
"""
VERIFY = """\
mainstay hsm drain --password-file audit="$HOME/audit" >&2
mainstay hsm verify --json --since {since} {expected}
"""


def begun(host: SigningHost) -> str:
    """The commit up to which signatures are of something else. Raises HostError."""
    _, out, _ = host.session(f"git -C {LOG} rev-parse HEAD")
    return out.decode().strip()


def certificate(host: SigningHost, number: int) -> x509.Certificate:
    """Of a key, as it lies on the host. Raises HostError."""
    return x509.load_pem_x509_certificate(host.run(f"sudo cat {KEYS}/{number:#06x}.x509.pem").encode())


def ota(host: SigningHost, folder: Path) -> Verdict:
    """A release of one package, made here, signed there, and judged here as one that is to be published.

    folder: anew for it. Raises HostError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    release, trusted = folder / "release", folder / release_build.CERTIFICATES
    trusted.mkdir(parents=True)
    signer = certificate(host, OTA_KEY)
    (trusted / f"{DEVICE}.x509.pem").write_bytes(signer.public_bytes(Encoding.PEM))
    where = release / "ota" / DEVICE / NEXT.android
    package = release_build.unsigned(where, DEVICE, NEXT, signer, FOLLOWING_BYTES)
    words = OPENSSL + SIGN_OTA.format(certificate=f"{KEYS}/{OTA_KEY:#06x}.x509.pem", key=uri(OTA_KEY))
    given = b"".join(release_build.to_be_signed(package))
    release_build.enclose(package, host.session(words, ("signing", "audit"), given)[1])
    release_build.checksum(package)
    return check(release, trusted, None, lambda _: None)


def app(host: SigningHost, folder: Path) -> str:
    """An app, made here, signed and verified there; the SHA-256 of its signer's certificate. Raises HostError."""
    package = apk.unsigned(folder / "app.apk")
    _, out, _ = host.session(SIGN_APP.format(alias=APP_LABEL), ("signing", "audit"), package.read_bytes())
    digest = certificate(host, APP_KEY).fingerprint(SHA256()).hex()
    if digest not in out.decode():
        raise HostError(f"the app is not signed by {APP_KEY:#06x}, whose certificate is {digest}: {out.decode()}")
    return digest


def verified(host: SigningHost, since: str) -> str:
    """The logs are whole, and their signatures since a commit are these. Raises HostError."""
    expected = " ".join(f"--expect sign-pkcs1@{key:#06x}={count}" for key, count in SIGNATURES.items())
    _, out, _ = host.session(VERIFY.format(since=since, expected=expected), ("audit",))
    entries = sum(one["entries"] for one in json.loads(out)["logs"])
    return f"{entries} entries in custody, and {sum(SIGNATURES.values())} signatures that are the release's"

"""What is done with a signing host's HSMs, by ssh: in sessions there, whose passwords lie in memory alone."""

import re
import shlex
import subprocess
from collections.abc import Callable
from typing import Protocol

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from roles.signing.deploy import WORK
from roles.signing.settings import CONNECTOR_PORT
from tests.hsm_site import ADMIN, DECLARATION, FACTORY, PASSWORDS, SERIALS, SIGNING, certificate

URLS = {name: f"http://127.0.0.1:{CONNECTOR_PORT + at}" for at, name in enumerate(SERIALS)}
"""On the host."""
KEYS = (0x0101, 0x0102)
LOG = f"{WORK}/hsm-log"
OF_RSA = {
    'algorithm = "ecp256"': 'algorithm = "rsa2048"',
    # Java wants the certificate, too.
    'capabilities = ["sign-ecdsa"]': 'capabilities = ["sign-pkcs", "get-opaque"]',
    'capabilities = ["sign-ecdsa", "exportable-under-wrap"]': 'capabilities = ["sign-pkcs", "exportable-under-wrap"]',
    'delegated = ["sign-ecdsa", "exportable-under-wrap"]': 'delegated = ["sign-pkcs", "exportable-under-wrap"]',
    '"sign-pss", ': '"get-opaque", ',
}
"""Of a declaration by whose keys apksigner can sign."""
OF_A_HOST = OF_RSA | {
    "expires_days = 90": f'folder = "{WORK}/keys"\nexpires_days = 90',
    'repository = "hsm-log"': f'repository = "{LOG}"',
}
PROVIDER = """\
name = hsm
library = /usr/lib/x86_64-linux-gnu/pkcs11/yubihsm_pkcs11.so
"""
EXPORTS = "--add-exports=jdk.crypto.cryptoki/sun.security.pkcs11=ALL-UNNAMED"
APKSIGNER = (
    "apksigner sign --ks NONE --ks-type PKCS11 --provider-class sun.security.pkcs11.SunPKCS11 "
    "--provider-arg provider --ks-pass file:pin --ks-key-alias releasekey "
    "--min-sdk-version 24 --v1-signing-enabled false --v3-signing-enabled false --in in.apk --out out.apk"
)
PEM = re.compile("-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n", re.DOTALL)
DIFFERS, WRONG, INCIDENT, UNREACHABLE = 52, 51, 54, 3
"""Exit codes of `mainstay hsm`."""
TIMEOUT_S = 600
"""Of a session: without KVM each start of Python takes seconds."""
BEGINNING = "set -eu; umask 077\n" + "".join(
    f"printf '%s\\n' {shlex.quote(password)} >$HOME/{name}\n" for name, password in PASSWORDS.items()
)


def declaration() -> str:
    """hsm.toml of a site whose host has the tests' devices behind its own connectors."""
    text = DECLARATION.format(**URLS)
    for old, new in OF_A_HOST.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Runs(Protocol):
    def __call__(
        self, command: str, *, root: bool = True, given: str = "", timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]: ...


def script(*lines: str) -> str:
    """Of a session with all passwords at hand, in files that go with it."""
    return BEGINNING + "".join(f"{line}\n" for line in lines)


def session(run: Runs, *lines: str) -> subprocess.CompletedProcess[str]:
    """Its exit code is that of the first line that fails."""
    return run("signing-session sh -s", root=False, given=script(*lines), timeout_s=TIMEOUT_S)


def ended(code: int, run: Runs, *lines: str) -> str:
    """What a session says that has to end so."""
    done = session(run, *lines)
    assert done.returncode == code, f"{lines}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def hsm(command: str, *options: str) -> str:
    """`mainstay hsm` with all passwords that it takes."""
    names = {"plan": PASSWORDS, "apply": PASSWORDS, "audit": PASSWORDS, "drain": ("audit",)}.get(command, ())
    words = [f"--password-file={name}=$HOME/{name}" for name in names if name != "factory"]
    return " ".join(["mainstay hsm", command, *words, *options])


def from_factory(command: str, *options: str) -> str:
    """The same by the key that devices leave the factory with."""
    return hsm(command, f"--key {FACTORY:#06x} --password-file={FACTORY:#06x}=$HOME/factory", *options)


def run_with(tool: str, device: str = "primary") -> str:
    """A tool that uses a device, in custody."""
    return f"hsm-run --device {device} --password-file audit=$HOME/audit -- {tool}"


def shell(action: str, key: int, password: str, device: str = "primary") -> str:
    """yubihsm-shell, in custody."""
    words = f"yubihsm-shell -C {URLS[device]} --authkey {key:#06x} -p file:$HOME/{password} -a {action}"
    return run_with(words, device)


def hand_over(run: Runs) -> None:
    """Deletes what the factory's password opens, as a person does, so that another key can take its id."""
    deletion = f"delete-object -i {FACTORY:#06x} -t authentication-key"
    ended(0, run, *(shell(deletion, ADMIN, "admin", device) for device in URLS))


def public_keys(run: Runs) -> list[str]:
    """In PEM, as the primary tells them."""
    asked = [shell(f"get-public-key -i {key:#06x} --outformat PEM", ADMIN, "admin") for key in KEYS]
    return PEM.findall(ended(0, run, *asked))


def certify(run: Runs) -> None:
    """Puts certificates of the keys beside their wrapped files, as an authority has made them."""
    texts = zip(KEYS, public_keys(run), strict=True)
    made = {key: certificate(key, load_pem_public_key(text.encode())).decode() for key, text in texts}
    ended(0, run, *(f"cat >{WORK}/keys/{key:#06x}.x509.pem <<'END'\n{text}END" for key, text in made.items()))


def make(run: Runs, apply: Callable[[], object] = lambda: None) -> None:
    """From how devices leave the factory to all that is declared. apply: what else happens to the first apply."""
    ended(0, run, f"git init -q -b main {LOG}")
    assert "0x00ad" in ended(DIFFERS, run, from_factory("plan"))
    apply()
    ended(DIFFERS, run, from_factory("apply", "--yes"))
    hand_over(run)
    certify(run)
    ended(0, run, hsm("apply", "--yes"))


def sign_apk(run: Runs) -> None:
    """By the key 0x0101 and its certificate, through Java's PKCS#11 and Yubico's module; and has it verified.

    Scheme v2 alone, for which apksigner signs twice.
    """
    said = ended(
        0,
        run,
        f"cd $HOME; cat >provider <<'END'\n{PROVIDER}END",
        f"printf {SIGNING:04x} >pin; cat signing >>pin",
        "echo code >classes.dex; echo manifest >AndroidManifest.xml; zip -q in.apk classes.dex AndroidManifest.xml",
        f"export JAVA_TOOL_OPTIONS={EXPORTS}",
        run_with(APKSIGNER),
        "apksigner verify --min-sdk-version 24 --max-sdk-version 25 --verbose --print-certs out.apk",
    )
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in said
    assert "CN=0x0101" in said

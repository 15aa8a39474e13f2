"""HSMs from how they leave the factory to all that is declared: by `mainstay hsm apply` in sessions on the host, and by
hand what that leaves to people.
"""

import json
from typing import Any

from lab.signing.host import HostError, SigningHost
from roles.signing.settings import CONNECTOR_PORT

LOG, KEYS = "/srv/hsm-log", "/srv/signing/keys"
DIFFERS = 52
NEW = "there is no authentication key"
ASK = 'mainstay hsm {command} --json --password-file audit="$HOME/audit" {options}'
BY_ADMIN = '--password-file admin="$HOME/admin"'
FROM_FACTORY = '--key 0x0001 --password-file 0x0001="$HOME/factory"'
NEW_KEYS = f'--yes {BY_ADMIN} --password-file signing="$HOME/signing" --password-file main="$HOME/main"'
CUSTODY = 'hsm-run --password-file audit="$HOME/audit" {options} -- '
DELETE = (
    CUSTODY
    + """\
yubihsm-shell --connector http://127.0.0.1:{port} --authkey 0x00ad --password "file:$HOME/admin" \\
    -a delete-object -i 0x0001 -t authentication-key >&2
"""
)
PROVIDER = """\
openssl_conf = at_start
[at_start]
providers = both
[both]
default = of_openssl
pkcs11 = of_device
[of_openssl]
activate = 1
[of_device]
activate = 1
module = {provider}
pkcs11-module-path = {module}
pkcs11-module-token-pin = {pin}
"""
"""openssl.cnf by which OpenSSL uses a PKCS#11 module beside what it has itself."""
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
OPENSSL = f"""\
cat >"$HOME/openssl.cnf" <<END
{
    PROVIDER.format(
        provider=f"{LIBRARIES}/ossl-modules/pkcs11.so",
        module=f"{LIBRARIES}/pkcs11/yubihsm_pkcs11.so",
        pin='0001$(cat "$HOME/signing")',
    )
}[req]
distinguished_name = name
[name]
END
with_openssl() {{
    hsm-run --password-file audit="$HOME/audit" -- env OPENSSL_CONF="$HOME/openssl.cnf" openssl "$@"
}}
"""
"""OpenSSL over Yubico's PKCS#11 module, in custody. A PIN is four digits of a key's id, and its password."""


def build(host: SigningHost) -> str:
    """All of it, from wherever an earlier run was ended; what was done, in a few words. Raises HostError."""
    code, out, said = host.session(ASK.format(command="plan", options=BY_ADMIN), ("admin", "audit"), codes=(0, 52, 1))
    if code == 0:
        return "all is as it is declared"
    if code == 1:
        if NEW not in said:
            raise HostError(said)
        left = _apply(host, FROM_FACTORY)
    else:
        left = json.loads(out)["differences"]
    about = {one["about"] for one in left if one["by_hand"]}
    for at, name in enumerate(host.serials):
        if f"{name}: authentication-key 0x0001 signing" in about:  # the factory's still, which has that id
            words = DELETE.format(options=f"--device {name}", port=CONNECTOR_PORT + at)
            host.session(words, ("admin", "audit"))
    left = _apply(host)
    for number, label in uncertified(left):
        host.session(OPENSSL + certify(number, label), ("signing", "audit"))
    if left := _apply(host):
        raise HostError(f"not as declared: {'; '.join(one['about'] for one in left)}")
    return f"{len(host.serials)} devices as they are declared"


def certify(number: int, label: str) -> str:
    """A certificate that signs itself, as release keys have it."""
    what = f"-key '{uri(number)}' -subj '/CN={label}' -days 10000 -sha256"
    return f"with_openssl req -new -x509 {what} -out {KEYS}/{number:#06x}.x509.pem >&2\n"


def uri(number: int) -> str:
    """Of a key, as PKCS#11 knows it (RFC 7512)."""
    return f"pkcs11:id=%{number >> 8:02x}%{number & 0xFF:02x};type=private"


def uncertified(left: list[Any]) -> list[tuple[int, str]]:
    """Ids and labels of keys for which there is no certificate, as a plan tells it."""
    found = {one["about"].partition(": opaque ")[2] for one in left if "a person has to make one" in one["words"][0]}
    return [(int(one.split()[0], 16), one.split()[1]) for one in sorted(found)]


def _apply(host: SigningHost, by: str = "") -> list[Any]:
    """What it leaves. by: in place of the admin's own key."""
    words = ASK.format(command="apply", options=f"{by} {NEW_KEYS}")
    _, out, _ = host.session(words, ("admin", "audit", "signing", "main", "factory"), codes=(0, DIFFERS))
    return list(json.loads(out)["differences"])

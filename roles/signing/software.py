"""What the signing host runs, by version and, for what handles keys, by the digest of Debian's package."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    """A package that is installed in this version and from these bytes, or not at all."""

    version: str
    sha256: str
    """Of the .deb for amd64, as Debian's signed index has it."""


PINNED = {
    "age": Pin("1.2.1-1+b5", "a87ab5ba69a99bc6d8c95935ae467fa877daef50d11d9dabe0520ae01411f85c"),
    "apksigner": Pin("35.0.2-1", "5525a18d6a4cbb5025c2f74def51fa170b9eefdb98e3be18bb3d5207ed857797"),
    "libp11-kit0": Pin("0.25.5-3", "784bf2063e166c8bc851a32623b74ebd85c499043a9d57c5bbd64fa63447f45a"),
    "libyubihsm-http2": Pin("2.6.0-5", "2463a4eb2c136a6b5476b407ad9d67ce7b0bbbfe4fa796df691c5e36d5e10d6f"),
    "libyubihsm-usb2": Pin("2.6.0-5", "291dcc1b5c59922fbcafb9c16709bb9e1a120cc111f776dd8d9fa4a85431e5ca"),
    "libyubihsm2": Pin("2.6.0-5", "47a2feb6e8a3fd2a5bf31be1314b5f72f4b448edf2b90f88557cdb61a2473071"),
    "opensc": Pin("0.26.1-2", "2797d3f18b026f325a8901b91692618f105c3d50d60a5f0263054725a13ea9e5"),
    "opensc-pkcs11": Pin("0.26.1-2", "6f278a3a506530d0675c112bc23ffe37a5716300d3eb26304c75b67544de5506"),
    "p11-kit": Pin("0.25.5-3", "3b048929b011eab66ad30cf888060456281b12a0e2fce2e17dc62906947d0835"),
    "p11-kit-modules": Pin("0.25.5-3", "9d7c6fd38295115bfbe8ef56bd593a3f50ded285182ab0eeff218d43addb69d8"),
    "parallel": Pin("20240222+ds-2", "eb31b7482e76d3aee62917d2f9a474663679390f29abc227ed59ee05b1edc675"),
    "pkcs11-provider": Pin("1.0-3", "a5df2585de08d0641ab52022487d75857b139e3ad0b1e4c2a07a652dc713e8dc"),
    "python3-shamir-mnemonic": Pin("0.3.0-1.1", "f6e48acd9968aa0db5f5a5354afd469cd5450b755fef9cc06c070051016188de"),
    "python3-yubihsm": Pin("3.1.1-1", "211b2bb012aca1fbc91602d02813c9cba6006f49533dab622c6812fc516b01fa"),
    "usbguard": Pin("1.1.3+ds-3", "eee065923db55111ca541a5506bfdec01e3ba86d7070309dcc52b99478d34fd7"),
    "yubihsm-connector": Pin("3.0.5-2", "b9e659abce4f37426046d942d7730070ac640d69021ad590aa6a9ee8076e1369"),
    "yubihsm-pkcs11": Pin("2.6.0-5", "6fea76d58087b3ef8f59140c7ec8120cd37ab54c8b3d37d974be4c838384d30a"),
    "yubihsm-shell": Pin("2.6.0-5", "8add37067a0cee6e3e85cef7f834aacce99e583df39a133b79480fa5badab47a"),
    "yubihsm-wrap": Pin("2.6.0-5", "33106751de4769776fe4e76d8888274acaf371d9ff5a801f377dad5b790e39f7"),
}
MINIMUM: dict[str, str | None] = {
    "apparmor": "4.1.0-1",
    "auditd": "1:4.0.2-2+deb13u1",
    "git": "1:2.47.3-0+deb13u1",
    "kmod": None,
    "openjdk-21-jre-headless": "21.0.13.1+2-1~deb13u1",
    "python3-cryptography": "43.0.0-3+deb13u1",
    "python3-pydantic": "2.10.6-2",
    "python3-rich": "13.9.4-1",
    "python3-typer": "0.15.2-1",
    "unzip": "6.0-29+deb13u1",
    "util-linux": None,
    "zip": "3.0-15+deb13u1",
}
"""What gets security updates by itself between two deploys: at least this version."""
PACKAGES = (*MINIMUM, *PINNED)
"""As a bundle takes them along."""


def refusals(look: list[str]) -> list[str]:
    """What must not be installed, in words, by lines NAME of what is missing and NAME VERSION SHA256 of what there is.

    A package that is there already was judged when it came; one that Debian's security team replaced since is newer.
    """
    found, offered = [], {line.split(" ")[0]: line.split(" ")[1:] for line in look if " " in line}
    for name in (line for line in look if " " not in line):
        pin, (version, sha256) = PINNED[name], offered.get(name, ["none", ""])
        if version != pin.version:
            found.append(f"{name}: the archive has {version}, pinned is {pin.version}: review it, then change")
        elif sha256 != pin.sha256:
            found.append(f"{name} {version}: SHA-256 {sha256} by the archive's index, pinned is {pin.sha256}")
    return [f"{problem} (roles/signing/software.py)" for problem in found]

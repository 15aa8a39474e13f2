"""What a reboot needs to find, and software that must not come: operations that only the signing host has."""

from collections.abc import Generator
from typing import Any

from pyinfra.api.command import PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.common.facts import LOOKED, Look, lines
from roles.common.operations import Refuse
from roles.signing import software
from roles.signing.kernel import COMMAND_LINE

Commands = Generator[PyinfraCommand, None, None]
GRUB = "/boot/grub/grub.cfg"
NO_SWAPS = "systemd-detect-virt -cq || ! swapon --noheadings --show=NAME | grep -q ."
"""A container sees its host's."""


class PinLook(Look):
    """Of the packages on stdin, NAME of each that is not installed, and NAME VERSION SHA256 as apt's index has it."""

    kind = "packages"

    def command(self) -> str:
        return (
            f"echo {LOOKED}; names=$(cat); "
            "there=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' $names 2>/dev/null | sed -n 's/^.i *//p'); "
            'missing=$(for name in $names; do echo "$there" | grep -qx -- "$name" || echo $name; done); '
            '[ -z "$missing" ] || { echo "$missing"; apt-cache show --no-all-versions $missing 2>/dev/null | '
            "awk '/^Package: /{name=$2} /^Version: /{version=$2} /^SHA256: /{print name, version, $2}'; }; true"
        )


class BootLook(Look):
    """Which of the things to be done are not."""

    kind = "kernel"

    def command(self) -> str:
        wanted = " ".join(COMMAND_LINE)
        return (
            f"echo {LOOKED}; ! [ -e {GRUB} ] || grep -qF '{wanted}' {GRUB} || echo grub; {{ {NO_SWAPS}; }} || echo swap"
        )


class LogLook(Look):
    """`missing` where the folder on stdin is no git repository."""

    kind = "files"

    def command(self) -> str:
        return f'echo {LOOKED}; read -r folder; [ -d "$folder/.git" ] || echo missing'


@operation()
def log_repository(folder: str, owner: str) -> Commands:
    """An empty git repository of `owner`, whose objects the folder's group can read, where there is none."""
    look: Any = host.get_fact(LogLook, **lines([folder]))
    if look and "missing" in look:
        init = f"umask 027 && git init -q -b main {folder}"
        yield StringCommand("runuser", "-u", owner, "--", "sh", "-c", QuoteString(init))


@operation()
def pinned() -> Commands:
    """Fails before anything is installed that is not what was reviewed; see software.py. Needs fresh lists."""
    look = host.get_fact(PinLook, **lines(sorted(software.PINNED)))
    if look is None:
        return
    if problems := software.refusals(look):
        yield Refuse(problems)


@operation()
def boot() -> Commands:
    """grub's entries have the kernel's command line, and no swap is in use."""
    look: Any = host.get_fact(BootLook)
    if look is None:
        return
    if "grub" in look:
        host.log(f"  {GRUB}: lacks {' '.join(COMMAND_LINE)}; in force after a reboot")
        yield StringCommand("update-grub")
    if "swap" in look:
        host.log("  swap: in use")
        yield StringCommand("swapoff --all")

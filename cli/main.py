"""The `mainstay` command: rehearses, tells and proves. It never configures a host; pyinfra does.

Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 unreachable.
"""

import sys
from importlib.util import find_spec

import typer

from cli import lazy
from cli.options import BAD_USAGE, FAILED
from inventories.errors import InputError

EVERY = {
    "backup": "What is saved, where, and whether it can be trusted.",
    "drill": "Proves backups: restored on hosts of their own, checked, destroyed.",
    "release": "Releases: checked, published, promoted, rolled back; what is where.",
    "web": "The website: published on all its servers at once, and taken back.",
    "gerrit": "The code review: its groups, projects and rights; can anybody get all that a manifest names?",
    "monitor": "What watches the site: what is wrong now; silence while somebody works on it.",
    "runbook": "A page each for the day when something is lost, or is to be done.",
    "admin": "Who administers the site: people come and go.",
    "secrets": "What the repository holds encrypted: API keys, passwords.",
    "bundle": "All that a host without network is deployed from, on one medium.",
    "hsm": "The signing host's HSMs: their state as it is declared, and the custody of their logs.",
    "lab": "The local cloud: hosts like the provider's, on this machine. Needs root.",
}
NEEDS = {"bundle": "bundle", "lab": "lab"}
"""What more than its own module a group needs; the control host has neither."""
GROUPS = {
    name: words for name, words in EVERY.items() if find_spec(f"cli.{name}") and find_spec(NEEDS.get(name, "cli"))
}
"""The signing host has `hsm` alone."""

app = lazy.application(
    lazy.groups({name: f"cli.{name}" for name in GROUPS}),
    help="Rehearses, tells and proves the infrastructure of a free mobile operating system. pyinfra changes its hosts.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 unreachable.",
)
for name, words in GROUPS.items():
    app.add_typer(typer.Typer(), name=name, help=words)
if find_spec("cli.ssh"):
    from cli.ssh import ssh, ssh_config

    app.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(ssh)
    app.command("ssh-config")(ssh_config)
if find_spec("cli.deploys"):
    from cli.deploys import deploys

    app.command("deploys")(deploys)
if find_spec("doctor"):
    from cli.doctor import doctor

    app.command("doctor")(doctor)
if find_spec("drift"):
    from cli.drift import drift

    app.command("drift")(drift)
if find_spec("status"):
    from cli.status import status

    app.command("status")(status)


def main() -> None:
    """Entry point; bad input is one message and exit code 2, a file or program of this machine that fails, 1."""
    try:
        app(prog_name="mainstay")
    except InputError as error:
        typer.secho(f"mainstay: {error}", fg="red", err=True)
        sys.exit(BAD_USAGE)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        typer.secho(f"mainstay: {what}", fg="red", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()

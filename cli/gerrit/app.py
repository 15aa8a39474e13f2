"""What the commands of `mainstay gerrit` share."""

from cli import lazy

COMMANDS = {
    "status": "looking",
    "plan": "planning",
    "apply": "planning",
    "audit": "auditing",
    "restore": "restoring",
    "upgrade": "upgrading",
}
"""The module of each, as an admin needs them."""
app = lazy.commands(
    "cli.gerrit",
    COMMANDS,
    "Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 unreachable; of plan 52, the server is not as declared; "
    "of audit 51, something is wrong; of upgrade rollback 53, something would be lost.",
)

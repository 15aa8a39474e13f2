"""What stops a command of `mainstay hsm`, in words that say what to do."""

INCIDENT = 54
"""Exit code: a log shows what must not be, and nobody has accepted it."""


class HsmError(Exception):
    """Nothing more was done; the same command can be given again."""


class Unreachable(HsmError):
    """A connector or its device does not answer."""


class WrongPassword(HsmError):
    """The device does not know it. It locks nothing, and none is tried twice."""

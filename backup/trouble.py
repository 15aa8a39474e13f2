"""What may go wrong with one data set, and is no reason to leave the others alone; and what people are told of it."""

from backup.ledger import LedgerError
from backup.restic_process import ResticError
from inventories.errors import InputError

TROUBLE = (ResticError, LedgerError, InputError, OSError, ValueError, ArithmeticError)


def said(error: Exception) -> str:
    """An error in one line; of what nobody foresaw, what kind it is too."""
    words = " ".join(str(error).split())
    return words if isinstance(error, TROUBLE) else f"{type(error).__name__}: {words}"

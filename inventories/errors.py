"""The one error of everything an admin writes: which file, which field, what was found, what to do."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING or "pyinfra" in sys.modules:
    from pyinfra.api.exceptions import PyinfraError
else:
    # Where it does not run already, as in the `mainstay` command, loading it would take half a second.
    PyinfraError = Exception


class InputError(PyinfraError):
    """Bad input in a file that an admin owns. Raised before any host or API is touched.

    pyinfra prints its message without a traceback; the `mainstay` command exits with 2 on it.
    """

    def __init__(self, file: Path | str, field: str, problem: str, hint: str = "") -> None:
        self.file, self.field, self.problem, self.hint = str(file), field, problem, hint
        text = f"{self.file}: {field}: {problem}" if field else f"{self.file}: {problem}"
        super().__init__(f"{text}\n  {hint}" if hint else text)

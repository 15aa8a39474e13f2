"""Faults on demand: what happens to devices and is hard to have happen.

A fault is `{"kind": ..., ...}`:

- `unplug`: at once; or with a `command` (`SIGN_PKCS1`) in the midst of it, `when` it is not yet carried out (`before`)
  or is, and its answer is lost (`after`, the default). It is plugged in again when faults are deleted.
- `corrupt`: a byte of the reply to `times` (1) commands is wrong, of any or of `command`
- `full_log`: the log has no slot free, as if so many commands had been given
- `firmware`: it is of `version` ("2.3.1"), `serial`: it is the device with that `serial`, until faults are deleted
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from yubihsm.defs import COMMAND

from lab.hsm.storage import SERIALS


def _command(name: str) -> str:
    if name not in COMMAND.__members__:
        raise ValueError(f"{name} is none of the commands of yubihsm.defs.COMMAND")
    return name


class Fault(BaseModel):
    """See the module's docstring."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["unplug", "corrupt", "full_log", "firmware", "serial"]
    command: Annotated[str, AfterValidator(_command)] | None = None
    when: Literal["before", "after"] = "after"
    times: int = Field(1, ge=1)
    version: str = Field("2.3.1", pattern=r"^\d{1,2}\.\d{1,2}\.\d{1,2}$")
    serial: int = Field(SERIALS.stop - 1, ge=SERIALS.start, lt=SERIALS.stop)


class Faults:
    """Those that are in force; the device asks for them."""

    def __init__(self) -> None:
        self.all: list[Fault] = []

    def strikes(self, kind: str, command: int, when: str = "after") -> bool:
        """Whether one does, and it is used up by that."""
        name = COMMAND(command).name
        for fault in self.all:
            if fault.kind == kind and fault.command in (None, name) and fault.when == when:
                fault.times -= 1
                if not fault.times:
                    self.all.remove(fault)
                return True
        return False

    @property
    def serial(self) -> int | None:
        return next((fault.serial for fault in self.all if fault.kind == "serial"), None)

    @property
    def firmware(self) -> tuple[int, int, int] | None:
        version = next((fault.version for fault in self.all if fault.kind == "firmware"), None)
        if version is None:
            return None
        major, minor, patch = (int(part) for part in version.split("."))
        return major, minor, patch

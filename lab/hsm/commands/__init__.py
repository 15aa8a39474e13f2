"""What a session can ask of the device: for each command the capability that its key needs, and what carries it out."""

from collections.abc import Mapping

from yubihsm.defs import COMMAND

from lab.hsm.commands import administration, audit, authentication, hmac, signing, stored, wrapping
from lab.hsm.commands.call import Command

COMMANDS: Mapping[COMMAND, Command] = {
    **administration.COMMANDS,
    **audit.COMMANDS,
    **authentication.COMMANDS,
    **hmac.COMMANDS,
    **signing.COMMANDS,
    **stored.COMMANDS,
    **wrapping.COMMANDS,
}

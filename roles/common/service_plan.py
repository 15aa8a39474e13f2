"""Which units are not what they should be, from one look at the host. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A systemd unit and the files it was started with.

    `files` are shell patterns (`*` stays within one directory) of files, or of directories with all that is in them.
    The unit's own file and drop-ins in /etc/systemd/system always count, and lead to a restart even with `reload`.
    """

    name: str
    """With its suffix: `nginx.service`."""
    files: tuple[str, ...] = ()
    reload: bool = False
    """A change of `files` is taken up by a reload."""
    enabled: bool = True
    running: bool = True

"""The release servers."""

from roles.release.deploy import release

release()

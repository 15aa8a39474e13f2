"""Where a manifest comes from: a checkout of it, or the repository that clients give `repo init`."""

from pathlib import Path
from urllib.parse import urlsplit

from inventories.errors import InputError
from roles.gerrit.tools.sources import manifest, names
from roles.gerrit.tools.sources.elements import of_commit, of_folder
from roles.gerrit.tools.sources.git import Git, GitError, Place
from roles.gerrit.tools.sources.manifest import Manifest


def fetched(url: str, branch: str, file: str, place: Place) -> Manifest:
    """Of the newest commit of a branch, fetched as somebody whom the server does not know; branch empty: the server's
    own. Raises InputError."""
    if why := names.address(url) or (branch and names.revision(branch)):
        raise InputError(url, "", why, "give what clients give `repo init -u` and `-b`")
    ref = f"refs/heads/{branch}" if branch else "HEAD"
    with place.scratch() as into:
        try:
            into.run("fetch", "-q", "--depth=1", "--no-tags", url, ref)
        except GitError as error:
            raise InputError(url, ref, f"cannot be fetched: {error.said}", "is that what clients are given?") from None
        return manifest.read(of_commit(into.folder, "FETCH_HEAD"), url, file)


def checked_out(file: Path, url: str) -> Manifest:
    """Of a file in a checkout of the manifest's repository. url: where clients get it. Raises InputError."""
    return manifest.read(of_folder(file.parent), url, file.name)


def of_checkout(file: Path) -> str:
    """The origin of the checkout that a file is at the top of. Raises InputError."""
    if not file.is_file():
        raise InputError(file, "", "there is no such file", "give a file of a manifest, or an address for `repo init`")
    try:
        return Git(file.parent / ".git", Place(file.parent)).run("config", "remote.origin.url").decode().strip()
    except GitError:
        hint = "say by --url what clients give `repo init -u`: relative addresses in it begin there"
        raise InputError(file.parent, "", "is no checkout that knows where it is from", hint) from None


def own(one: Manifest, url: str) -> list[str]:
    """Remotes on the host that the manifest itself comes from, by name."""
    host = urlsplit(url).netloc
    return sorted(name for name, remote in one.remotes.items() if urlsplit(remote.url).netloc == host)

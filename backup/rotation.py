"""A new password for a repository, so that one that works is in the secrets file at every moment.

secret         holds
backup_X       what the host is deployed with: it opens the repository at all times
next_backup_X  a new password, until it is proved
old_backup_X   the one before, until no key of it is left

Each step looks at what is there and does what is missing, so that a rotation which was broken off anywhere goes on when
it is run again; until then `status` tells of it. Keys that nobody knows of, such as one that a compromised host added,
go with the old one.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from backup import custody
from backup.custody import DataSet
from backup.reach import SSH_FAILED, Reach, Unreachable, of_begun
from backup.restic import Restic
from backup.restic_process import WrongPassword
from backup.sizes import counted
from backup.store import VAULT, WORDS
from inventories import departed
from inventories.command_line import as_given
from inventories.editing import Plain
from inventories.inventory import CLONE, LoadedSite
from inventories.secrets import Secrets

PROVE_S = 300
"""How long a host may take to open its repository."""
Say = Callable[[str], None]


class RotationError(Exception):
    """A rotation that cannot go on now. Nothing is lost: run again, it goes on from there."""


def rotate(way: Reach, data_set: DataSet, say: Say) -> None:
    """Gives a data set's repositories a new password and its host with it, and removes all other keys.

    Raises RotationError, Unreachable, ResticError and InputError; in each case the password in backup_X works.
    """
    site = way.site
    following, before = beside(data_set)
    if before in _held(site):
        say(f"{data_set}: goes on where it stopped: the new password is in {data_set.secret}")
    else:
        let_in = _let_in
        if following not in _held(site):
            _write(site, {following: Plain(custody.new_password())})
            say(f"{data_set}: a new password is in {following}")
            let_in = _add  # made just now, it opens nothing
        old, new = _password(site, data_set.secret), _password(site, following)
        with way.repositories(data_set) as found:
            for name in of_begun(found, partial(let_in, old=old, new=new)):
                say(f"{data_set}: the new password opens {name}, and a snapshot was read with it")
        _promote(site, data_set.secret, following, before)
        say(f"{data_set}: the new password is in {data_set.secret}, the old one in {before}")
    for words in deploys(site, data_set):
        say(f"$ {' '.join(words)}")
        _deploy(words)
    old, new = _password(site, before), _password(site, data_set.secret)
    with way.repositories(data_set) as found:
        keys = of_begun(found, partial(_keys, old=old, new=new))
        _prove_host(way, data_set, next(key for key, current in keys[WORDS[VAULT]].items() if current))
        say(f"{data_set}: {data_set.host} opens the vault with the new password")
        for name, listed in keys.items():
            gone = _remove_others(_with(found[name], new), listed)
            say(f"{data_set}: {name}: {counted(gone, 'other key was', 'other keys were')} removed")
    _write(site, {before: None})
    departed.strike(site.secrets.path, (data_set.secret, following, before))
    say(f"{data_set}: done; commit {site.secrets.path.name}")


def unfinished(site: LoadedSite, data_set: DataSet) -> list[str]:
    """The secrets that a rotation which was broken off has left; `rotate` goes on from there."""
    return [name for name in beside(data_set) if name in site.secrets]


def beside(data_set: DataSet) -> tuple[str, str]:
    """Names of the secrets with the password to come and the one before."""
    return f"next_{data_set.secret}", f"old_{data_set.secret}"


def deploys(site: LoadedSite, data_set: DataSet) -> Sequence[Sequence[str]]:
    """The commands that give a data set's password to whom it belongs: its host, then the control host."""
    inventory = as_given(site.path)
    hosts = {data_set.host: data_set.plan} | dict.fromkeys(site.fleet.with_role("control"), "control")
    return [("pyinfra", inventory, f"deploys/{role}.py", "--limit", host, "-y") for host, role in hosts.items()]


def _held(site: LoadedSite) -> Secrets:
    """The secrets as they are on disk now."""
    return site.secrets.at(site.secrets.path)


def _password(site: LoadedSite, name: str) -> str:
    return _held(site)[name].get_secret_value()


def _write(site: LoadedSite, wanted: Mapping[str, Plain | None]) -> None:
    custody.write(site, _held(site), wanted)


def _promote(site: LoadedSite, name: str, following: str, before: str) -> None:
    """In one write: there is no moment at which `name` holds nothing or what does not open."""
    tags = _held(site).entries[name].tags
    old, new = _password(site, name), _password(site, following)
    _write(site, {name: Plain(new, tags), before: Plain(old), following: None})


def _with(restic: Restic, password: str) -> Restic:
    return replace(restic, repository=replace(restic.repository, password=password))


def _let_in(restic: Restic, old: str, new: str) -> None:
    """Adds a key for the new password, unless it is there, and proves it."""
    try:
        _prove(_with(restic, new))
    except WrongPassword:
        _add(restic, old, new)


def _add(restic: Restic, old: str, new: str) -> None:
    """The same, where it is known not to be there."""
    _with(restic, old).add_key(new)
    _prove(_with(restic, new))


def _prove(restic: Restic) -> None:
    if not restic.snapshots():
        raise RotationError("the repository holds no snapshot that could prove the new password: save first")


def _keys(restic: Restic, old: str, new: str) -> dict[str, bool]:
    """The keys of a repository, by the new password, which was proved before it was promoted."""
    fresh = _with(restic, new)
    try:
        return fresh.keys()
    except WrongPassword:  # a second copy that was begun meanwhile
        _add(restic, old, new)
        return fresh.keys()


def _deploy(words: Sequence[str]) -> None:
    """As an admin would, in the clone. What it says is for people."""
    program = Path(sys.executable).with_name(words[0])
    done = subprocess.run([program, *words[1:]], cwd=CLONE, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode:
        hint = "Old and new password both work. Mend what is named above, then run this again"
        raise RotationError(f"{' '.join(words)} exited {done.returncode}. {hint}")


def _prove_host(way: Reach, data_set: DataSet, key: str) -> None:
    """The host opens the repository by that very key, and no run that began with another is still at it."""
    words = way.agent(data_set.host, "key", data_set.plan)
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PROVE_S
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{data_set.host}: no answer within {PROVE_S:g} s") from None
    if done.returncode == SSH_FAILED:
        raise Unreachable(f"{data_set.host}: {done.stderr.strip()}")
    if done.returncode:
        hint = "The old key stays until the host is proved: run this again"
        raise RotationError(f"{data_set.host}: {done.stderr.strip()}. {hint}")
    if done.stdout.strip() != key:
        raise RotationError(f"{data_set.host} opens the repository with another password than the one deployed")


def _remove_others(restic: Restic, keys: Mapping[str, bool]) -> int:
    """Removes every key but the one in use; how many there were."""
    others = [key for key, current in keys.items() if not current]
    for key in others:
        restic.remove_key(key)
    if others and (left := [key for key, current in restic.keys().items() if not current]):
        raise RotationError(f"not removed, though said to be, or added meanwhile: {', '.join(left)}")
    return len(others)

"""What pyinfra's command line says that an inventory must know: which deploys run, and on which of its hosts.

pyinfra applies `--limit` and `--exclude` after it has read the inventory, and only warns when one matches nothing.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path

from inventories.errors import InputError

CHOICES = ("--limit", "--exclude")
GOING_ON = {
    "--no-wait": "leaves failures of hosts untold, and ends as if all were well",
    "--fail-percent": "goes on with other hosts after one that failed",
}
"""Options of pyinfra by which a failure does not stop a run."""


def as_given(inventory: Path) -> str:
    """How an inventory is named on a command line in the clone."""
    clone, program = Path(__file__).parents[1], inventory.with_suffix(".py")
    return str(program.relative_to(clone) if program.is_relative_to(clone) else program)


def is_pyinfra(words: Sequence[str]) -> bool:
    """Whether these words called pyinfra: its program, or `python -m pyinfra`."""
    program = Path(words[0]) if words else Path()
    return program.name == "pyinfra" or program.parts[-2:] == ("pyinfra", "__main__.py")


def deploys(words: Sequence[str]) -> set[str]:
    """Names of the deploys: `release` for `deploys/release.py`."""
    return {path.stem for path in map(Path, words) if path.suffix == ".py" and path.parent.name == "deploys"}


def check_files(words: Sequence[str]) -> None:
    """pyinfra takes an inventory that is not there for the name of a host, finds none and ends well.

    Raises InputError.
    """
    for word in _ours(words[1:]):
        if word.endswith(".py") and not word.startswith("-") and not Path(word).is_file():
            there = sorted(str(path.with_suffix(".py")) for path in Path(word).parent.glob("*.toml"))
            raise InputError(word, "", "no such file", f"inventories there: {', '.join(there) or 'none'}")


def check_folder(clone: Path) -> None:
    """pyinfra reads config.py where it is started, and goes without when there is none. Raises InputError."""
    if Path.cwd() != clone:
        problem = f"was started in {Path.cwd()}, where it does not find the settings in {clone / 'config.py'}"
        raise InputError("pyinfra", "", problem, f"start it in {clone}")


def check_dry(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Of a dry run that must not look, pyinfra prints a plan without a line. Raises InputError."""
    sure = environment.get("PYINFRA_YES") or any(re.fullmatch("--yes|-v*yv*", word) for word in _ours(words))
    if sure and dry(words):
        problem = "with --yes pyinfra looks at nothing, so its empty plan means nothing"
        raise InputError("--dry", "", problem, "leave out -y, --yes and PYINFRA_YES")


def check_stops(words: Sequence[str]) -> None:
    """A deploy stops at the first host that fails: config.py says so, and these words may not. Raises InputError."""
    for option in GOING_ON:
        if deploys(words) and any(word.partition("=")[0] == option for word in _ours(words)):
            hint = "leave it out; one host after the other, until one fails: --serial"
            raise InputError("pyinfra", option, GOING_ON[option], hint)


def dry(words: Sequence[str]) -> bool:
    """Whether nothing is to be changed."""
    return "--dry" in _ours(words)


def data(words: Sequence[str]) -> dict[str, str]:
    """Each `--data NAME=VALUE`; of a name that is given twice the last, as pyinfra takes it."""
    return dict(pair.partition("=")[::2] for _, pair in _given(words, ("--data",)))


def choices(words: Sequence[str]) -> list[tuple[str, str]]:
    """Each `--limit` and `--exclude` with its pattern, the next word or after `=`."""
    return _given(words, CHOICES)


def check_choices(words: Sequence[str], groups: Mapping[str, Collection[str]]) -> None:
    """Whether each of them matches a group or a host in one; else the wrong hosts, or none, would be changed.

    Raises InputError.
    """
    hosts = sorted({host for members in groups.values() for host in members})
    for option, pattern in choices(words):
        if pattern not in groups and not any(fnmatch(host, pattern) for host in hosts):
            hint = f"hosts of this deploy are: {', '.join(hosts)}; groups: {', '.join(sorted(groups))}"
            raise InputError(option, pattern, "matches no host", hint)


def refuse_choices(words: Sequence[str]) -> None:
    """For deploys that work on a site as a whole. Raises InputError."""
    for option, pattern in choices(words):
        hint = "leave it out: what is as declared is left alone, and --dry tells what would be done"
        raise InputError(option, pattern, "provisioning works on the site as a whole", hint)


def _given(words: Sequence[str], options: Collection[str]) -> list[tuple[str, str]]:
    """These options with their values, the next word or after `=`."""
    ours = _ours(words)
    following = zip(ours, [*ours[1:], ""], strict=True)
    pairs = [(word, after) if word in options else word.partition("=")[::2] for word, after in following]
    return [(option, value) for option, value in pairs if option in options]


def _ours(words: Sequence[str]) -> list[str]:
    """Without the command that follows `--`, which runs on hosts."""
    return list(takewhile(lambda word: word != "--", words))

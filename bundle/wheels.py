"""Python packages for hosts without network: the wheels of uv.lock for the target's Python, checked by their hashes.

They come from the index that this machine's pip has by default. uv tells what the lock holds, and brings the pip that
fetches: uv itself installs for other machines, and keeps no wheels.
"""

import os
import re
import shutil
from pathlib import Path

from packaging.requirements import Requirement

from bundle.programs import output

PYTHON = "3.13"
"""Debian 13's."""
TARGET = {
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "sys_platform": "linux",
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "implementation_version": f"{PYTHON}.0",
}
GLIBC = range(5, 42)
"""Minor versions of glibc 2 whose wheels run there: trixie has 2.41."""
REQUIREMENTS = "requirements.txt"
_HASH = re.compile(r"--hash=\S+")


def fetch(clone: Path, into: Path, requirements: Path) -> int:
    """Puts the wheels of a clone's lock into a folder, and writes what pip is to install; returns how many.

    Raises ProgramError.
    """
    words = ("export", "--frozen", "--no-dev", "--no-emit-project", "--no-annotate", "--no-header")
    lines = for_target(_uv(clone, *words))
    requirements.write_text("".join(f"{line}\n" for line in lines))
    abis = [f"--abi={abi}" for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none")]
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
    wanted = (
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        f"--python-version={PYTHON}",
        "--implementation=cp",
    )
    options = (*wanted, *abis, *platforms, "--platform=manylinux2014_x86_64", "--platform=manylinux1_x86_64")
    _uv(clone, "tool", "run", "pip", "download", "--quiet", *options, f"--requirement={requirements}", f"--dest={into}")
    return len(list(into.iterdir()))


def for_target(exported: str) -> list[str]:
    """Of what uv exported, the lines that hold on the target, each with its hashes and without its condition."""
    found = []
    for line in exported.replace("\\\n", " ").splitlines():
        words, hashes = line.partition(" --hash=")[0].strip(), _HASH.findall(line)
        if not words or words.startswith("#"):
            continue
        requirement = Requirement(words)
        if requirement.marker is None or requirement.marker.evaluate(TARGET):
            found.append(" ".join([f"{requirement.name}{requirement.specifier}", *hashes]))
    return sorted(found)


def _uv(clone: Path, *words: str) -> str:
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mainstay/uv/bin/uv"
    uv = shutil.which("uv") or str(cached)
    return output(uv, *words, hint="bin/setup does it", cwd=clone, environment={"UV_PYTHON_DOWNLOADS": "never"})

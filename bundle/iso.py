"""A folder as an ISO image, and back, by xorriso."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle.programs import output

SUFFIX = ".iso"


def write(folder: Path, image: Path, label: str, when: int) -> None:
    """The same image for the same files: times are `when` (Unix seconds), owners root's. Raises ProgramError."""
    stamp = f"={when}"
    _xorriso(
        *("-as", "mkisofs", "-quiet", "-r", "-V", label[:32], "--set_all_file_dates", stamp, "-o", str(image)),
        str(folder),
        SOURCE_DATE_EPOCH=str(when),
    )


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder that a bundle is; of an image, a copy for as long as it lasts. Raises ProgramError."""
    if path.is_dir():
        yield path
        return
    with TemporaryDirectory(prefix="mainstay-iso-") as folder:
        copy = Path(folder, "bundle")
        _xorriso("-osirrox", "on", "-indev", str(path), "-extract", "/", str(copy))
        subprocess.run(["chmod", "-R", "u+w", copy], check=True)  # an image's folders may be read-only
        yield copy


def _xorriso(*words: str, **environment: str) -> None:
    output("xorriso", *words, hint="images are made and read by it", environment=environment)

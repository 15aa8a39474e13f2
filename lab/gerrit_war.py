"""Gerrit's war for the lab, put together from its parts, which a repository of jars has as it has not the whole.

The plugin API and the acceptance framework of one version hold the whole server between them. What comes of it is
Gerrit without its web interface and without bundled plugins: right for rehearsals and tests, wrong for production,
which has the official war. The same parts make the same bytes, so that it is declared by its SHA-256 as that one is.

Parts are fetched by Debian's ivy, from the repository that it or the machine is set to, and believed by their SHA-256.
"""

import fcntl
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inventories.files import sha256
from lab.command import BASE
from lab.engine import EngineError
from lab.go import run

CACHE = BASE / "tools/gerrit"
IVY = Path("/usr/share/java/ivy.jar")
LAUNCHER = "com/google/gerrit/launcher/"
MANIFEST = "Manifest-Version: 1.0\r\nMain-Class: com.google.gerrit.launcher.GerritLauncher\r\n\r\n"
LOGGING = """log4j.rootCategory=INFO, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=[%d] [%t] %-5p %c %x: %m%n
"""
WHEN = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Part:
    """A jar of a repository."""

    group: str
    name: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.jar"


BOUNCY_CASTLE = tuple(
    Part("org.bouncycastle", f"{name}-jdk18on", "1.80", sha256)
    for name, sha256 in {
        "bcpg": "3799a0d53511b860780af43c44ae8e0519afabb263195af40174f46312cd58bd",
        "bcpkix": "4f4ba6a92617ea19dc183f0fa5db492eee426fdde2a0a2d6c94777ffd1af6413",
        "bcprov": "e8ad209f8c58d291a37ca9750e9e9fac60596956c983e49dd8282381dd8b3249",
        "bcutil": "22eca687f7955411f456af33e6ea8e68fc73cd80cb8b32aa5f7a8b1827d7c678",
    }.items()
)
API, REST = "gerrit-plugin-api", "gerrit-acceptance-framework"
VERSIONS = {
    version: tuple(Part("com.google.gerrit", name, version, sha256) for name, sha256 in ((API, api), (REST, rest)))
    for version, api, rest in (
        (
            "3.12.0",
            "34351d31ff1a4c64646296c9912aaf07b32e6e005b14940caa1b5e78c56731d5",
            "7350ccacf263bfdb1024d2abb1c1895be195e7b6c6030c5f525fa8f817e6d611",
        ),
        (
            "3.13.5",
            "44d6a5e646ffc1bf9f8322f03046fd381b0cf51c1d4cc7d6bec9c5106dc1304d",
            "c301a154e777eb69c9b8904c3dbac1e70b4924ab7aeecf1f874d3cfd45bb5961",
        ),
    )
}
"""Which there are, with the two parts of each."""
CURRENT = "3.13.5"
"""The one that inventories/lab.toml declares."""


def place(version: str) -> Path:
    """Where the war of a version lies once it is made."""
    return CACHE / f"gerrit-{version}.war"


def war(version: str) -> Path:
    """The war of a version of VERSIONS, made at the first call. Raises EngineError."""
    CACHE.mkdir(parents=True, exist_ok=True)
    made = place(version)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                parts = [_fetched(part, Path(scratch)) for part in (*VERSIONS[version], *BOUNCY_CASTLE)]
                fresh = Path(scratch) / made.name
                _assemble(version, parts, fresh)
                fresh.rename(made)
    return made


def _fetched(part: Part, folder: Path) -> Path:
    words = ("-dependency", part.group, part.name, part.version, "-notransitive", "-confs", "default", "-warn")
    kept = ("-retrieve", folder / "[artifact]-[revision].[ext]", "-cache", folder / "cache")
    run("java", "-jar", IVY, *words, *kept, cwd=folder)
    path = folder / part.file
    found = sha256(path)
    if found != part.sha256:
        raise EngineError(f"{part.group}:{part.name}:{part.version}: expected SHA-256 {part.sha256}, found {found}")
    return path


def _assemble(version: str, parts: list[Path], target: Path) -> None:
    own = target.with_name("mainstay.jar")
    with zipfile.ZipFile(own, "w") as jar:
        _add(jar, "com/google/gerrit/common/Version", version.encode())
        _add(jar, "log4j.properties", LOGGING.encode())
    with zipfile.ZipFile(target, "w") as whole:
        _add(whole, "META-INF/MANIFEST.MF", MANIFEST.encode())
        for name, content in _launcher(parts[0]):
            _add(whole, name, content)
        for path in (*parts, own):
            _add(whole, f"WEB-INF/lib/{path.name}", path.read_bytes())


def _launcher(api: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(api) as jar:
        for name in sorted(jar.namelist()):
            if name.startswith(LAUNCHER) and name.endswith(".class"):
                yield name, jar.read(name)


def _add(into: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Stored: jars are packed already, and the same bytes come out wherever zlib is another one."""
    entry = zipfile.ZipInfo(name, WHEN)
    entry.external_attr = 0o644 << 16
    into.writestr(entry, content)

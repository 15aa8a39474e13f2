"""git as somebody whom no server knows, which follows nobody elsewhere and runs nothing that a repository brings."""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

LOCAL_S = 600
ENDING_S = 10
"""git removes its locks when it is asked to end."""
SETTINGS = {
    "core.hooksPath": "/dev/null",
    "credential.helper": "",
    "gc.autoDetach": "false",
    "maintenance.autoDetach": "false",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "protocol.version": "2",
}


class GitError(Exception):
    """git's words."""


@dataclass(frozen=True)
class Git:
    """home: a folder without a .netrc; held: the run's lock, which lasts as long as a git of it does, whatever became
    of the run itself."""

    home: str
    authority: str
    held: int

    def run(self, folder: Path, *words: str, stdin: str = "", timeout_s: float = LOCAL_S) -> str:
        """Standard output. Raises GitError."""
        code, out, errors = self._run(folder, words, stdin, timeout_s)
        if code:
            said = " ".join(errors.split())
            raise GitError(f"git {words[0]}: {said or f'exit code {code}'}")
        return out

    def succeeds(self, folder: Path, *words: str) -> bool:
        """Whether it ends with 0. Raises GitError."""
        return self._run(folder, words, "", LOCAL_S)[0] == 0

    def _run(self, folder: Path, words: tuple[str, ...], stdin: str, timeout_s: float) -> tuple[int, str, str]:
        trusted = {"http.sslCAInfo": self.authority} if self.authority else {}
        settings = [word for item in (SETTINGS | trusted).items() for word in ("-c", "=".join(item))]
        with subprocess.Popen(
            ["git", *settings, f"--git-dir={folder}", *words],
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            start_new_session=True,
            pass_fds=(self.held,),
        ) as process:
            try:
                out, errors = process.communicate(stdin, timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.communicate(timeout=ENDING_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                raise GitError(f"git {words[0]}: not done within {timeout_s:g} s") from None
        return process.returncode, out, errors

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": self.home,
            "LC_ALL": "C.UTF-8",
            "GIT_ALLOW_PROTOCOL": "https",
            "GIT_ASKPASS": "false",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

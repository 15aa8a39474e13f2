"""Chromium without a window, steered by the DevTools protocol over pipes: what a page really looks like and says."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ANSWER_S = 30


class Browser:
    """One tab."""

    def __init__(self, to: int, back: int) -> None:
        self._out, self._in = os.fdopen(to, "wb", 0), os.fdopen(back, "rb", 0)
        self._rest, self._number, self._session = b"", 0, ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Accessibility", "Network"):
            self(f"{domain}.enable")
        self.requests: list[str] = []
        """Addresses that pages have asked for."""

    def __call__(self, method: str, **params: Any) -> Any:
        """What the browser answers to a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._hear(answer)
        assert "result" in answer, answer
        return answer["result"]

    def open(self, page: Path | str, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Shows a page, by its file or address, wholly loaded, in a window of that size."""
        self.requests.clear()
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        while self._hear(self._read()) != "Page.loadEventFired":
            pass

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        done = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key, down and up."""
        text = {"text": "\r"} if key == "Enter" else {}
        self("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of all that assistive technology is told of, in order."""
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in self("Accessibility.getFullAXTree")["nodes"]
            if not node["ignored"]
        ]

    def screenshot(self, to: Path) -> None:
        """Of the whole page."""
        shot = self("Page.captureScreenshot", captureBeyondViewport=True)
        to.write_bytes(base64.b64decode(shot["data"]))

    def _hear(self, event: dict[str, Any]) -> str:
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])
        return str(event.get("method", ""))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = self._in.read(1 << 16)
            assert chunk, "the browser has ended"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextmanager
def browser(folder: Path, *options: str) -> Iterator[Browser]:
    """Chromium with a profile of its own in that folder, and its own options; it ends with the block."""
    program = shutil.which("chromium")
    assert program, "chromium is not here: bin/setup --lab installs it"
    theirs_in, to = os.pipe()
    back, theirs_out = os.pipe()
    words = [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
    words += ["--disable-dev-shm-usage", f"--user-data-dir={folder}", *options, "about:blank"]
    # DevTools' pipes are descriptors 3 and 4.
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    with subprocess.Popen(
        ["bash", "-c", script, "bash", *words],
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(to, back)
        finally:
            running.terminate()

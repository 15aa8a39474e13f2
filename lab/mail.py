"""What a lab's hosts find on their gateway: a mail sink, while the lab's daemon runs."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from lab.engine import LabConfig

PORT = 25


@contextlib.contextmanager
def received(config: LabConfig) -> Iterator[None]:
    """For as long as it lasts. Needs the bridge."""
    sink = Controller(_Sink(config.root / "mail"), hostname=str(config.gateway4), port=PORT)
    sink.start()
    try:
        yield
    finally:
        sink.stop()


class _Sink:
    """Takes every mail that hosts hand over and keeps it, as it came, for tests to read: root/mail/TIME.eml."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        name = str(time.time_ns())
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n"
        content = envelope.original_content or b""
        (self._folder / f"{name}.new").write_bytes(head.encode() + content)
        (self._folder / f"{name}.new").rename(self._folder / f"{name}.eml")
        return "250 kept"

"""What visitors get while the website is in maintenance: one page that asks for nothing else. Pure."""

import base64
import hashlib
from collections.abc import Sequence

from markupsafe import Markup, escape

from roles.web.settings import Settings
from roles.web.tools.on_server import MAINTENANCE

RETRY_S = 600
"""When programs may ask again."""
STYLE = """
:root { color-scheme: light dark; background: #fff; color: #1b1f23 }
@media (prefers-color-scheme: dark) { :root { background: #14171a; color: #e6e8ea } }
body { font: 1.125rem/1.6 system-ui, sans-serif; margin: 0 auto; max-width: 36rem; padding: 4rem 1.25rem }
h1 { font-size: 1.75rem; line-height: 1.25 }
p { overflow-wrap: anywhere }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Down for maintenance: {name}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Down for maintenance</h1>
{text}
</main>
</body>
</html>
"""


def page(name: str, text: str) -> str:
    """name: of the website; text: without markup, its paragraphs by empty lines between them."""
    paragraphs = Markup("\n").join(
        Markup("<p>{}</p>").format(part.strip()) for part in text.split("\n\n") if part.strip()
    )
    return PAGE.format(name=escape(name), style=STYLE, text=paragraphs)


def policy() -> str:
    """Its Content-Security-Policy: its own style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def context(dot_directories: Sequence[str]) -> dict[str, object]:
    """What the site's configuration says of it. dot_directories: of what programs ask for, which is served on."""
    place = {"folder": MAINTENANCE.parent, "page": MAINTENANCE.name}
    return place | {"policy": policy(), "retry_s": RETRY_S, "served": "|".join(dot_directories)}


def files(name: str, settings: Settings) -> dict[str, str]:
    """By path on the host. name: of the website."""
    return {str(MAINTENANCE): page(name, settings.maintenance_text)} if settings.maintenance else {}


def absent(settings: Settings) -> tuple[str, ...]:
    """What maintenance that is over has left."""
    return () if settings.maintenance else (str(MAINTENANCE),)
